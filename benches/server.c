/* The server of the measurements: tells when it began, listens, and ends with its lease.
 *
 *     server TAG STAMPS [PORT LEASE]
 *     server
 *
 * Writes "TAG NANOSECONDS" (CLOCK_MONOTONIC at its start) to the FIFO STAMPS, listens on PORT of the
 * loopback address, logs some lines, as servers do, and ends when nobody holds the FIFO LEASE open for writing
 * any more. Without PORT and LEASE it ends at once. It is linked statically, so that hardly anything of its own comes before the clock is read.
 *
 * Without arguments it is the smallest server that a Hub takes for one: it listens where JUPYTERHUB_SERVICE_URL
 * says, logs as many lines as a JupyterLab at its start, and answers each request with 200, until a signal ends it.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINES 100
#define LOG_LINES_OF_LAB 20
static const char log_line[] = "[I 2025-01-01 00:00:00.000 ServerApp] as long as a line of a log is\n";

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int log_lines(int count)
{
    while (count-- > 0)
        if (write(STDERR_FILENO, log_line, sizeof log_line - 1) < 0)
            return fail("the log");
    return 0;
}

static int open_listener(int port, int backlog)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, backlog))
        return -1;
    return listener;
}

static int serve(void)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const char *url = getenv("JUPYTERHUB_SERVICE_URL");
    const char *port = url ? strrchr(url, ':') : NULL;
    if (!port)
        return 2;
    int listener = open_listener(atoi(port + 1), 64);
    if (listener < 0)
        return fail("the port");
    if (log_lines(LOG_LINES_OF_LAB))
        return 1;
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char request[4096];
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0 && read(connection, request, sizeof request) > 0)
            if (write(connection, answer, sizeof answer - 1) < 0)
                perror("the answer");
        close(connection);
    }
}

int main(int argc, char **argv)
{
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (argc == 1)
        return serve();
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

    if (open_listener(atoi(argv[3]), 1) < 0)
        return fail("the port");

    /* What carries the log needs memory for it, which is to be measured too. */
    if (log_lines(LOG_LINES))
        return 1;

    char byte;
    while (read(lease, &byte, 1) > 0)
        ;
    return 0;
}
