/* The server of the measurements: tells when it began, listens, and ends with its lease.
 *
 *     server TAG STAMPS [PORT LEASE]
 *
 * Writes "TAG NANOSECONDS" (CLOCK_MONOTONIC at its start) to the FIFO STAMPS, listens on PORT of the
 * loopback address, logs some lines, as servers do, and ends when nobody holds the FIFO LEASE open for writing
 * any more. Without PORT and LEASE it ends at once. It is linked statically, so that hardly anything of its own comes before the clock is read.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINES 100
static const char log_line[] = "[I 2025-01-01 00:00:00.000 ServerApp] as long as a line of a log is\n";

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (argc != 3 && argc != 5)
        return 2;

    char line[128];
    int length = snprintf(line, sizeof line, "%s %lld\n", argv[1],
                          began.tv_sec * 1000000000LL + began.tv_nsec);
    int stamps = open(argv[2], O_WRONLY | O_CLOEXEC);
    if (stamps < 0 || write(stamps, line, length) != length)
        return fail(argv[2]);
    if (argc == 3)
        return 0;

    int lease = open(argv[4], O_RDONLY | O_CLOEXEC);
    if (lease < 0)
        return fail(argv[4]);

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(atoi(argv[3])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1))
        return fail("the port");

    /* What carries the log needs memory for it, which is to be measured too. */
    for (int count = 0; count < LOG_LINES; count++)
        if (write(STDERR_FILENO, log_line, sizeof log_line - 1) < 0)
            return fail("the log");

    char byte;
    while (read(lease, &byte, 1) > 0)
        ;
    return 0;
}
