/* Loaded before libc (LD_PRELOAD): strikes at the n-th call that changes what the disk holds below one directory.

   STRIKE_UNDER  the directory, as the kernel names it; calls on anything else are not counted
   STRIKE_AT     which call is struck, from 1; 0 strikes none
   STRIKE_HOW    before, half (of the bytes of a write) or after: the process kills itself there
                 ENOSPC or EIO: the call fails, and so does every later one that would need the disk
                 once-EIO: the call fails, the next one does not
   STRIKE_COUNT  a file outside that directory where the number of calls is written when the process ends by itself */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *under, *how, *count_file;
static long strike_at;
static atomic_long calls;
static pid_t owner;

__attribute__((constructor)) static void read_orders(void) {
    under = getenv("STRIKE_UNDER");
    how = getenv("STRIKE_HOW");
    count_file = getenv("STRIKE_COUNT");
    strike_at = getenv("STRIKE_AT") ? atol(getenv("STRIKE_AT")) : 0;
    owner = getpid();
}

__attribute__((destructor)) static void tell(void) {
    if (count_file && owner == getpid()) {
        FILE *file = fopen(count_file, "w");
        if (file) {
            fprintf(file, "%ld\n", (long)calls);
            fclose(file);
        }
    }
}

static int is_ours(const char *path) { return under && strncmp(path, under, strlen(under)) == 0; }

static int is_open_there(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

enum { PASS, BEFORE, HALF, AFTER, FAIL };

/* What happens to this call; `errno` is set where it fails. */
static int turn(int counts) {
    if (!counts || !how)
        return PASS;
    long number = ++calls;
    int is_failure = strcmp(how, "before") && strcmp(how, "half") && strcmp(how, "after");
    int is_once = !strncmp(how, "once-", 5);
    if (!strike_at || number < strike_at || ((!is_failure || is_once) && number > strike_at))
        return PASS;
    if (is_failure) {
        errno = strstr(how, "EIO") ? EIO : ENOSPC;
        return FAIL;
    }
    return !strcmp(how, "before") ? BEFORE : !strcmp(how, "half") ? HALF : AFTER;
}

static void die(void) { kill(getpid(), SIGKILL); }

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

#define STRUCK(type, counts, whole, half)                                                                              \
    int order = turn(counts);                                                                                          \
    if (order == FAIL)                                                                                                 \
        return -1;                                                                                                     \
    if (order == BEFORE)                                                                                               \
        die();                                                                                                         \
    if (order == HALF)                                                                                                 \
        half, die();                                                                                                   \
    type result = whole;                                                                                               \
    if (order == AFTER)                                                                                                \
        die();                                                                                                         \
    return result;

ssize_t write(int fd, const void *bytes, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t)
    STRUCK(ssize_t, is_open_there(fd), real(fd, bytes, size), (void)!real(fd, bytes, size / 2))
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
    STRUCK(ssize_t, is_open_there(fd), real(fd, bytes, size, at), (void)!real(fd, bytes, size / 2, at))
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)
    STRUCK(ssize_t, is_open_there(fd), real(fd, bytes, size, at), (void)!real(fd, bytes, size / 2, at))
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    REAL(ssize_t, sendfile64, int, int, off64_t *, size_t)
    STRUCK(ssize_t, is_open_there(out), real(out, in, at, size), (void)!real(out, in, at, size / 2))
}

ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    REAL(ssize_t, sendfile, int, int, off_t *, size_t)
    STRUCK(ssize_t, is_open_there(out), real(out, in, at, size), (void)!real(out, in, at, size / 2))
}

int fsync(int fd) {
    REAL(int, fsync, int)
    STRUCK(int, is_open_there(fd), real(fd), (void)0)
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int)
    STRUCK(int, is_open_there(fd), real(fd), (void)0)
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *)
    STRUCK(int, is_ours(to), real(from, to), (void)0)
}
