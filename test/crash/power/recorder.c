/*
 * Notes, in order, everything a process does to the files below one directory, so that a test can
 * build what a disk would hold if the power had gone at any moment. Preloaded (LD_PRELOAD).
 *
 *   POWER_ROOT     the directory, absolute, without a slash at its end; exists already
 *   POWER_JOURNAL  where the notes are appended; outside the directory
 *   POWER_MARKS    writes to this file are noted with their bytes; a line "die" ends the process
 *   POWER_DIE_AT   SIGKILL right after this many notes (0 or missing: never)
 *   POWER_IGNORE   "folders": fsync of a folder does nothing and is not noted; "all": no fsync does
 *
 * Invariants:
 * R1. One lock is held around each operation and its note, so the notes stand in the order in which
 *     the kernel did the work. Only fsync runs outside of it: it takes long and others go on.
 * R2. A note of a sync says how long the journal was when the sync began: what was noted before
 *     that is on the disk, what came while it ran may not be.
 * R3. A file is known by its inode number from the note of its creation on; a number that comes
 *     again belongs to the file created last, because an inode lives as long as it is open.
 *
 * Kernel calls are made directly: no symbol has to be looked up, whatever libc calls them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __LP64__
#error "offsets are passed to the kernel in one register: 64-bit only"
#endif

#define FD_MAX 65536
#define MAGIC 0x4a525750u

enum kind { ROOT = 1, CREATE, MKDIR, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, RMDIR, LINK, MARK };
enum tracked { NOT = 0, REGULAR, FOLDER, MARKS };

/* Two byte strings follow: paths below the root, or data. Little-endian. */
struct note {
  uint32_t magic, kind;
  uint64_t inode, number;
  uint32_t first_bytes, second_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char kind_of[FD_MAX];
static uint64_t inode_of[FD_MAX];
static char root[4096], marks[4096];
static size_t root_length;
static int journal = -1, ignore_folders, ignore_all;
static uint64_t journal_bytes, notes, die_at;

static void die(const char *why) {
  dprintf(2, "recorder: %s (errno %d)\n", why, errno);
  abort();
}

static void note(enum kind kind, uint64_t inode, uint64_t number, const void *first,
                 size_t first_bytes, const void *second, size_t second_bytes) {
  struct note head = {MAGIC, kind, inode, number, first_bytes, second_bytes};
  struct iovec parts[] = {{&head, sizeof head},
                          {(void *)first, first_bytes},
                          {(void *)second, second_bytes}};
  size_t whole = sizeof head + first_bytes + second_bytes;
  if (syscall(SYS_writev, journal, parts, 3) != (long)whole) die("the journal took less");
  journal_bytes += whole;
  if (++notes == die_at) syscall(SYS_kill, getpid(), SIGKILL);
}

static void note_number(enum kind kind, uint64_t inode, uint64_t number) {
  note(kind, inode, number, NULL, 0, NULL, 0);
}

__attribute__((constructor)) static void start(void) {
  const char *folder = getenv("POWER_ROOT"), *file = getenv("POWER_JOURNAL");
  const char *ignore = getenv("POWER_IGNORE"), *at = getenv("POWER_DIE_AT");
  if (folder == NULL || file == NULL) return;
  snprintf(root, sizeof root, "%s", folder);
  snprintf(marks, sizeof marks, "%s", getenv("POWER_MARKS") ? getenv("POWER_MARKS") : "");
  ignore_all = ignore != NULL && strcmp(ignore, "all") == 0;
  ignore_folders = ignore != NULL && strcmp(ignore, "folders") == 0;
  die_at = at == NULL ? 0 : strtoull(at, NULL, 10);
  struct stat found;
  if (stat(root, &found) != 0) die("POWER_ROOT is not there");
  int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
  journal = syscall(SYS_openat, AT_FDCWD, file, flags, 0600);
  if (journal < 0) die("the journal cannot be opened");
  journal_bytes = syscall(SYS_lseek, journal, 0L, SEEK_END);
  root_length = strlen(root);
  note_number(ROOT, found.st_ino, 0);
}

/* The path below the root, made in `memory` where it was relative; NULL for any other path. */
static const char *below(int folder, const char *path, char memory[4096]) {
  if (root_length == 0) return NULL;
  if (path[0] != '/') {
    char link[64], base[2048];
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, base, sizeof base - 1);
    if (n < 0) return NULL;
    base[n] = 0;
    snprintf(memory, 4096, "%s/%s", base, path);
    path = memory;
  }
  if (strncmp(path, root, root_length) != 0 || path[root_length] != '/') return NULL;
  const char *inside = path + root_length + 1;
  if (strstr(inside, "//") || strstr(inside, "./")) die("a path that is not plain");
  return inside;
}

static enum tracked tracked(int fd) {
  return fd >= 0 && fd < FD_MAX ? kind_of[fd] : NOT;
}

static int do_open(int folder, const char *path, int flags, mode_t mode) {
  char memory[4096];
  const char *name = below(folder, path, memory);
  int is_root = root_length > 0 && strcmp(path, root) == 0;
  int is_marks = marks[0] != 0 && strcmp(path, marks) == 0;
  if (name == NULL && !is_root && !is_marks) return syscall(SYS_openat, folder, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat found;
  int is_new = name != NULL && (flags & O_CREAT) && fstatat(folder, path, &found, 0) != 0;
  int fd = syscall(SYS_openat, folder, path, flags, mode);
  if (fd >= FD_MAX) die("a descriptor beyond the table");
  if (fd >= 0) {
    if (fstat(fd, &found) != 0) die("fstat");
    kind_of[fd] = is_marks ? MARKS : S_ISDIR(found.st_mode) ? FOLDER : REGULAR;
    inode_of[fd] = found.st_ino;
    if (is_new) note(CREATE, found.st_ino, 0, name, strlen(name), NULL, 0);
    else if (kind_of[fd] == REGULAR && (flags & O_TRUNC)) note_number(TRUNCATE, found.st_ino, 0);
  }
  int kept = errno;
  pthread_mutex_unlock(&lock);
  errno = kept;
  return fd;
}

#define OPEN(symbol, folder_parameter, folder)                   \
  int symbol(folder_parameter const char *path, int flags, ...) { \
    va_list rest;                                                \
    va_start(rest, flags);                                       \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;    \
    va_end(rest);                                                \
    return do_open(folder, path, flags, mode);                   \
  }
#define FOLDER_PARAMETER int folder,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, FOLDER_PARAMETER, folder)
OPEN(openat64, FOLDER_PARAMETER, folder)

int creat(const char *path, mode_t mode) {
  return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
  if (tracked(fd) == NOT) return syscall(SYS_close, fd);
  pthread_mutex_lock(&lock);
  kind_of[fd] = NOT;
  int result = syscall(SYS_close, fd);
  pthread_mutex_unlock(&lock);
  return result;
}

/* `at` below 0: at the descriptor's own place, which stands behind the bytes afterwards. */
static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t at) {
  enum tracked kind = tracked(fd);
  if (kind != NOT) pthread_mutex_lock(&lock);
  ssize_t n = at < 0 ? syscall(SYS_writev, fd, parts, count)
                     : syscall(SYS_pwritev, fd, parts, count, (long)at, 0L);
  if (kind == NOT) return n;
  int kept = errno;
  off_t place = at < 0 ? syscall(SYS_lseek, fd, 0L, SEEK_CUR) - n : at;
  ssize_t left = n;
  for (int i = 0; i < count && left > 0; i++) {
    size_t bytes = parts[i].iov_len < (size_t)left ? parts[i].iov_len : (size_t)left;
    if (kind == REGULAR) note(WRITE, inode_of[fd], place, parts[i].iov_base, bytes, NULL, 0);
    if (kind == MARKS) note(MARK, 0, 0, parts[i].iov_base, bytes, NULL, 0);
    if (kind == MARKS && bytes >= 3 && memcmp(parts[i].iov_base, "die", 3) == 0)
      syscall(SYS_kill, getpid(), SIGKILL);
    place += bytes;
    left -= bytes;
  }
  pthread_mutex_unlock(&lock);
  errno = kept;
  return n;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  if (tracked(fd) == NOT) return syscall(SYS_write, fd, bytes, count);
  struct iovec one = {(void *)bytes, count};
  return do_write(fd, &one, 1, -1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  if (tracked(fd) == NOT) return syscall(SYS_pwrite64, fd, bytes, count, at);
  struct iovec one = {(void *)bytes, count};
  return do_write(fd, &one, 1, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  return pwrite64(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  return do_write(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return do_write(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return do_write(fd, parts, count, at);
}

static int do_truncate(int fd, off_t size) {
  if (tracked(fd) != REGULAR) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_ftruncate, fd, size);
  if (result == 0) note_number(TRUNCATE, inode_of[fd], size);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t size) { return do_truncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return do_truncate(fd, size); }

int truncate64(const char *path, off64_t size) {
  int fd = do_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result = do_truncate(fd, size);
  close(fd);
  return result;
}

int truncate(const char *path, off_t size) { return truncate64(path, size); }

/* Space that is asked for in advance shows as a file that grew. */
int fallocate64(int fd, int mode, off64_t at, off64_t bytes) {
  if (tracked(fd) == NOT) return syscall(SYS_fallocate, fd, mode, at, bytes);
  if (mode != 0) die("fallocate with a mode is not known here");
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_fallocate, fd, mode, at, bytes);
  struct stat now;
  if (result == 0 && fstat(fd, &now) == 0) note_number(TRUNCATE, inode_of[fd], now.st_size);
  pthread_mutex_unlock(&lock);
  return result;
}

int fallocate(int fd, int mode, off_t at, off_t bytes) { return fallocate64(fd, mode, at, bytes); }

int posix_fallocate64(int fd, off64_t at, off64_t bytes) {
  return fallocate64(fd, 0, at, bytes) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t at, off_t bytes) { return posix_fallocate64(fd, at, bytes); }

static int do_sync(long call, int fd) {
  enum tracked kind = tracked(fd);
  if (kind == NOT || kind == MARKS) return syscall(call, fd);
  if (ignore_all || (ignore_folders && kind == FOLDER)) return 0;
  pthread_mutex_lock(&lock);
  uint64_t began = journal_bytes;
  pthread_mutex_unlock(&lock);
  int result = syscall(call, fd);
  if (result != 0) return result;
  pthread_mutex_lock(&lock);
  note_number(SYNC, inode_of[fd], began);
  pthread_mutex_unlock(&lock);
  return 0;
}

int fsync(int fd) { return do_sync(SYS_fsync, fd); }
int fdatasync(int fd) { return do_sync(SYS_fdatasync, fd); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  char memory[4096], second_memory[4096];
  const char *first = below(from_folder, from, memory);
  const char *second = below(to_folder, to, second_memory);
  if (first == NULL && second == NULL)
    return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
  if (first == NULL || second == NULL || flags != 0) die("a rename over the border");
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
  if (result == 0) note(RENAME, 0, 0, first, strlen(first), second, strlen(second));
  pthread_mutex_unlock(&lock);
  return result;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int folder, const char *path, int flags) {
  char memory[4096];
  const char *name = below(folder, path, memory);
  if (name == NULL) return syscall(SYS_unlinkat, folder, path, flags);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_unlinkat, folder, path, flags);
  if (result == 0) note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, name, strlen(name), NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
  int result = unlink(path);
  return result != 0 && (errno == EISDIR || errno == EPERM) ? rmdir(path) : result;
}

int mkdirat(int folder, const char *path, mode_t mode) {
  char memory[4096];
  const char *name = below(folder, path, memory);
  if (name == NULL) return syscall(SYS_mkdirat, folder, path, mode);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_mkdirat, folder, path, mode);
  struct stat made;
  if (result == 0 && fstatat(folder, path, &made, 0) == 0)
    note(MKDIR, made.st_ino, 0, name, strlen(name), NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  char memory[4096], second_memory[4096];
  const char *first = below(from_folder, from, memory);
  const char *second = below(to_folder, to, second_memory);
  if (second == NULL) return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
  if (first == NULL) die("a link over the border");
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
  if (result == 0) note(LINK, 0, 0, first, strlen(first), second, strlen(second));
  pthread_mutex_unlock(&lock);
  return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
