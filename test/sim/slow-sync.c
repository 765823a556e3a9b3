/*
 * Put under a process with LD_PRELOAD: while the file that SLUICE_STALL_FLAG names exists, every
 * fsync and fdatasync takes a second longer, as on an SD card that tidies up.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void stall(void) {
  const char *flag = getenv("SLUICE_STALL_FLAG");
  if (flag && access(flag, F_OK) == 0) usleep(1000 * 1000);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  stall();
  return real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  stall();
  return real(fd);
}
