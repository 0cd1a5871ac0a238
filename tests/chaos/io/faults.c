/*
 * What a disk may answer: a library for LD_PRELOAD that stands between a process and the files under one folder.
 *
 * It fails, shortens, or only pretends calls that write, sync, cut, name and remove files. Who decides is either a
 * rule in a shared page (IO_FAULTS_RULE names its file; another process arms it at any moment), or a function of
 * the same process (io_faults_hook, for the simulated power cuts). Neither libfiu nor strace would do: the first
 * cannot tell one file from another nor count calls, the second costs two context switches per system call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { WRITE = 1, SYNC = 2, TRUNCATE = 4, CREATE = 8, REMOVE = 16, RENAME = 32 };
enum { GO_ON = 0, PRETEND = -1 }; /* anything else is an errno */

/* The shared page; tests/chaos/io/shim.py writes the same layout. */
struct rule {
    volatile int32_t armed;      /* 0: everything goes through */
    volatile int32_t operations; /* bits of `enum operation` */
    volatile int32_t error;      /* errno of a failing call; 0: a write is cut in half, and succeeds */
    volatile int32_t lasting;    /* whether every later call fails as well */
    volatile int64_t countdown;  /* matching calls that go through first */
    volatile int64_t seen;       /* matching calls since it was armed */
    volatile int64_t hits;       /* calls that failed */
    char part[256];              /* matches a path that holds this text; empty: any below the folder */
};

typedef int (*hook)(int operation, const char *path, const char *other, int64_t offset, const void *data, int64_t size);

static char folder[PATH_MAX];
static struct rule *rule;
static hook asked;
static __thread int inside;

void io_faults_hook(hook function) { asked = function; }

__attribute__((constructor)) static void begin(void) {
    const char *root = getenv("IO_FAULTS_FOLDER"), *page = getenv("IO_FAULTS_RULE");
    if (root != NULL) snprintf(folder, sizeof folder, "%s/", root);
    if (page == NULL) return;
    int file = open(page, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct rule), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) rule = found;
    close(file);
}

static int below(const char *path) {
    size_t length = strlen(folder);
    return length != 0 && (strncmp(path, folder, length) == 0 || (strncmp(path, folder, length - 1) == 0 && path[length - 1] == 0));
}

static int by_rule(int operation, const char *path) {
    if (rule == NULL || !rule->armed || !(rule->operations & operation)) return GO_ON;
    if (rule->part[0] != 0 && strstr(path, rule->part) == NULL) return GO_ON;
    __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
    int64_t left = __atomic_sub_fetch(&rule->countdown, 1, __ATOMIC_SEQ_CST);
    if (left >= 0 || (left < -1 && !rule->lasting)) return GO_ON;
    __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
    return rule->error == 0 ? PRETEND : rule->error;
}

static int verdict(int operation, const char *path, const char *other, int64_t offset, const void *data, int64_t size) {
    if (inside || !below(path)) return GO_ON;
    if (asked == NULL) return by_rule(operation, path);
    int before = errno;
    inside = 1;
    int said = asked(operation, path, other, offset, data, size);
    inside = 0;
    errno = before;
    return said;
}

static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return below(path);
}

static void whole(const char *path, char *full) {
    if (path[0] == '/') { snprintf(full, PATH_MAX, "%s", path); return; }
    char here[PATH_MAX / 2];
    if (getcwd(here, sizeof here) == NULL) here[0] = 0;
    snprintf(full, PATH_MAX, "%s/%s", here, path);
}

#define REAL(name) ({ static __typeof__(&name) found; if (found == NULL) found = dlsym(RTLD_NEXT, #name); found; })
#define FAILED(said) ((said) > 0 ? (errno = (said), 1) : 0)

/* --- writing. PRETEND cuts a write in half: the short count is what a full disk or a signal answers. */

#define WRITES(call, at)                                                     \
    char path[PATH_MAX];                                                     \
    int said = GO_ON;                                                        \
    int before = errno;                                                      \
    if (!inside && path_of(file, path)) said = verdict(WRITE, path, NULL, at, data, size); \
    errno = before;                                                          \
    if (FAILED(said)) return -1;                                             \
    if (said == PRETEND && size > 1) size /= 2;                              \
    return call;

ssize_t write(int file, const void *data, size_t size) { WRITES(REAL(write)(file, data, size), -1) }
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { WRITES(REAL(pwrite)(file, data, size, offset), offset) }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { WRITES(REAL(pwrite64)(file, data, size, offset), offset) }

#define CUTS(call)                                                           \
    char path[PATH_MAX];                                                     \
    int said = GO_ON;                                                        \
    if (!inside && path_of(file, path)) said = verdict(TRUNCATE, path, NULL, size, NULL, 0); \
    if (FAILED(said)) return -1;                                             \
    return call;

int ftruncate(int file, off_t size) { CUTS(REAL(ftruncate)(file, size)) }
int ftruncate64(int file, off64_t size) { CUTS(REAL(ftruncate64)(file, size)) }

/* --- syncing. PRETEND syncs nothing, and says that it did. */

#define SYNCS(call)                                                          \
    char path[PATH_MAX];                                                     \
    int said = GO_ON;                                                        \
    if (!inside && path_of(file, path)) said = verdict(SYNC, path, NULL, 0, NULL, 0); \
    if (FAILED(said)) return -1;                                             \
    return said == PRETEND ? 0 : call;

int fsync(int file) { SYNCS(REAL(fsync)(file)) }
int fdatasync(int file) { SYNCS(REAL(fdatasync)(file)) }

/* --- names */

#define OPENS(call)                                                          \
    mode_t mode = 0;                                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                                     \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode = va_arg(rest, mode_t);                                         \
        va_end(rest);                                                        \
    }                                                                        \
    if (!inside && (flags & (O_CREAT | O_TRUNC))) {                          \
        char full[PATH_MAX];                                                 \
        whole(path, full);                                                   \
        int before = errno, said = GO_ON, there = access(full, F_OK) == 0;   \
        errno = before;                                                      \
        if (!there && (flags & O_CREAT)) said = verdict(CREATE, full, NULL, 0, NULL, 0); \
        else if (there && (flags & O_TRUNC)) said = verdict(TRUNCATE, full, NULL, 0, NULL, 0); \
        if (FAILED(said)) return -1;                                         \
    }                                                                        \
    return call;

int open(const char *path, int flags, ...) { OPENS(REAL(open)(path, flags, mode)) }
int open64(const char *path, int flags, ...) { OPENS(REAL(open64)(path, flags, mode)) }
int openat(int at, const char *path, int flags, ...) { OPENS(REAL(openat)(at, path, flags, mode)) }
int openat64(int at, const char *path, int flags, ...) { OPENS(REAL(openat64)(at, path, flags, mode)) }

#define NAMES(operation, from, to, call)                                     \
    char one[PATH_MAX], two[PATH_MAX];                                       \
    int said = GO_ON;                                                        \
    if (!inside) {                                                           \
        whole(from, one);                                                    \
        if ((to) != NULL) whole(to, two);                                    \
        said = verdict(operation, one, (to) != NULL ? two : NULL, 0, NULL, 0); \
    }                                                                        \
    if (FAILED(said)) return -1;                                             \
    return call;

int unlink(const char *path) { NAMES(REMOVE, path, (const char *)NULL, REAL(unlink)(path)) }
int rename(const char *from, const char *to) { NAMES(RENAME, from, to, REAL(rename)(from, to)) }
