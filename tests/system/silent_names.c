/* An NSS module of a directory that, asked for simon, does not answer: it says so where /run/names-fail is, and
 * waits where /run/names-hang is. It knows nobody else. */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_silent_getpwnam_r(const char *name, struct passwd *entry, char *buffer,
                                       size_t size, int *error)
{
    if (strcmp(name, "simon") != 0)
        return NSS_STATUS_NOTFOUND;
    while (access("/run/names-hang", F_OK) == 0)
        pause();
    if (access("/run/names-fail", F_OK) != 0)
        return NSS_STATUS_NOTFOUND;
    *error = ECONNREFUSED;
    return NSS_STATUS_UNAVAIL;
}
