/* Loaded before libc (LD_PRELOAD): strikes at the n-th call of a kind that needs the disk, a handle or memory.

   STRIKE_HOW    before, half (of the bytes of a write) or after: the process kills itself there
                 ENOSPC or EIO: the call fails, and so does every later one that would need the disk
                 EMFILE or ENFILE: the call gets no handle, and no later one does
                 ENOMEM: the call gets no memory, and no later one does
                 once-…: the call fails, the next one does not
   STRIKE_AT     which call is struck, from 1; 0 strikes none. Counted are, by STRIKE_HOW:
                 calls that change what the disk holds below STRIKE_UNDER (a directory as the kernel names it);
                 calls that open a file, a directory, a pipe or a socket, from the first that opens STRIKE_FROM;
                 allocations of STRIKE_BYTES or more, from when STRIKE_FROM was opened
   STRIKE_COUNT  a file outside that directory where the number of calls is written when the process ends by itself */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DISK, HANDLE, MEMORY };

static const char *under, *how, *count_file, *from;
static long strike_at;
static size_t least_bytes;
static int kind = DISK;
static atomic_long calls;
static atomic_int is_begun;
static pid_t owner;

__attribute__((constructor)) static void read_orders(void) {
    under = getenv("STRIKE_UNDER");
    how = getenv("STRIKE_HOW");
    count_file = getenv("STRIKE_COUNT");
    strike_at = getenv("STRIKE_AT") ? atol(getenv("STRIKE_AT")) : 0;
    from = getenv("STRIKE_FROM");
    least_bytes = getenv("STRIKE_BYTES") ? (size_t)atol(getenv("STRIKE_BYTES")) : 0;
    if (how)
        kind = strstr(how, "FILE") ? HANDLE : strstr(how, "ENOMEM") ? MEMORY : DISK;
    owner = getpid();
}

__attribute__((destructor)) static void tell(void) {
    if (count_file && owner == getpid()) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, count_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (file >= 0) {
            dprintf(file, "%ld\n", (long)calls);
            close(file);
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

/* What happens to this call of a kind; `errno` is set where it fails. */
static int turn(int of, int counts) {
    if (!counts || !how || of != kind || (of != DISK && owner != getpid()))
        return PASS;
    long number = ++calls;
    int is_failure = strcmp(how, "before") && strcmp(how, "half") && strcmp(how, "after");
    int is_once = !strncmp(how, "once-", 5);
    if (!strike_at || number < strike_at || ((!is_failure || is_once) && number > strike_at))
        return PASS;
    if (is_failure) {
        errno = strstr(how, "EIO")      ? EIO
                : strstr(how, "EMFILE") ? EMFILE
                : strstr(how, "ENFILE") ? ENFILE
                : strstr(how, "ENOMEM") ? ENOMEM
                                        : ENOSPC;
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
    int order = turn(DISK, counts);\
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

/* Whether an opening counts; the first of STRIKE_FROM begins the count. */
static int is_awaited(const char *path) {
    if (!is_begun && from && strstr(path, from))
        is_begun = 1;
    return is_begun;
}

#define GIVEN_MODE(flags)                                                                                              \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

#define OPENED(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                       \
        GIVEN_MODE(flags)                                                                                              \
        return turn(HANDLE, is_awaited(path)) == FAIL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);    \
    }

#define OPENED_AT(name)                                                                                                \
    int name(int directory, const char *path, int flags, ...) {                                                        \
        GIVEN_MODE(flags)                                                                                              \
        return turn(HANDLE, is_awaited(path)) == FAIL ? -1 : (int)syscall(SYS_openat, directory, path, flags, mode);   \
    }

OPENED(open)
OPENED(open64)
OPENED_AT(openat)
OPENED_AT(openat64)

int socket(int domain, int type, int protocol) {
    return turn(HANDLE, is_begun) == FAIL ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

int pipe2(int ends[2], int flags) { return turn(HANDLE, is_begun) == FAIL ? -1 : (int)syscall(SYS_pipe2, ends, flags); }

DIR *opendir(const char *path) {
    REAL(DIR *, opendir, const char *)
    return turn(HANDLE, is_awaited(path)) == FAIL ? NULL : real(path);
}

static int is_large(size_t size) { return is_begun && size >= least_bytes; }

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size) { return turn(MEMORY, is_large(size)) == FAIL ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) {
    return turn(MEMORY, is_large(count * size)) == FAIL ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return turn(MEMORY, is_large(size)) == FAIL ? NULL : __libc_realloc(old, size);
}

#define MAPPED(name)                                                                                                   \
    void *name(void *at, size_t size, int rights, int flags, int fd, off_t offset) {                                   \
        int counts = (flags & MAP_ANONYMOUS) && rights != PROT_NONE && is_large(size);                                 \
        return turn(MEMORY, counts) == FAIL ? MAP_FAILED                                                               \
                                            : (void *)syscall(SYS_mmap, at, size, rights, flags, fd, offset);          \
    }

MAPPED(mmap)
MAPPED(mmap64)
