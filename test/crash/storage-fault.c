/*
 * Put under a process with LD_PRELOAD: lets the storage below one folder fail for as long as a file
 * exists, and tells in "<file>.count" how often, one byte a call.
 *
 *   SLUICE_FAULT_DIR   the folder, as an absolute path
 *   SLUICE_FAULT_FLAG  the file; its text is "sync" (EIO from syncs) or "write" (ENOSPC from writes)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, char kind) {
  const char *flag = getenv("SLUICE_FAULT_FLAG");
  const char *folder = getenv("SLUICE_FAULT_DIR");
  if (!flag || !folder || access(flag, F_OK) != 0) return 0;

  char link[64], target[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = 0;
  if (strncmp(target, folder, strlen(folder)) != 0) return 0;

  char wanted = 0;
  int at = open(flag, O_RDONLY | O_CLOEXEC);
  if (at < 0) return 0;
  ssize_t got = read(at, &wanted, 1);
  close(at);
  if (got != 1 || wanted != kind) return 0;

  char count[PATH_MAX];
  snprintf(count, sizeof count, "%s.count", flag);
  int counter = open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (counter >= 0) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (real(counter, ".", 1) != 1) abort();
    close(counter);
  }
  return 1;
}

#define FAULTY_SYNC(name)                                       \
  int name(int fd) {                                            \
    static int (*real)(int);                                    \
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);    \
    if (fails(fd, 's')) {                                       \
      errno = EIO;                                              \
      return -1;                                                \
    }                                                           \
    return real(fd);                                            \
  }

#define FAULTY_WRITE(name, parameters, arguments)               \
  ssize_t name parameters {                                     \
    static ssize_t(*real) parameters;                           \
    if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name); \
    if (fails(fd, 'w')) {                                       \
      errno = ENOSPC;                                           \
      return -1;                                                \
    }                                                           \
    return real arguments;                                      \
  }

FAULTY_SYNC(fsync)
FAULTY_SYNC(fdatasync)
FAULTY_WRITE(write, (int fd, const void *from, size_t size), (fd, from, size))
FAULTY_WRITE(pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
FAULTY_WRITE(pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
