// Structures of CShim held against the kernel's headers, for each architecture: it compiles, or it
// does not. The unit tests do the same for the machine's own.
#include <linux/if.h>
#include <linux/ethtool.h>
#include <linux/un.h>
#include <linux/fcntl.h>
#include <linux/termios.h>
#include <asm/stat.h>
#include "CShim.h"

#define SAME(ours, field, theirs, their_field)                                                     \
    _Static_assert(__builtin_offsetof(struct ours, field) ==                                       \
                       __builtin_offsetof(struct theirs, their_field), #ours "." #field)
#define SIZE(ours, theirs) _Static_assert(sizeof(struct ours) == sizeof(struct theirs), #ours)

SIZE(mini_ifreq, ifreq);
SAME(mini_ifreq, of.flags, ifreq, ifr_ifru.ifru_flags);
SAME(mini_ifreq, of.index, ifreq, ifr_ifru.ifru_ivalue);
SAME(mini_ifreq, of.address.data, ifreq, ifr_ifru.ifru_hwaddr.sa_data);
SIZE(mini_drvinfo, ethtool_drvinfo);
SAME(mini_drvinfo, driver, ethtool_drvinfo, driver);
SAME(mini_drvinfo, bus, ethtool_drvinfo, bus_info);
SIZE(mini_sockaddr_un, sockaddr_un);
SAME(mini_sockaddr_un, path, sockaddr_un, sun_path);
SIZE(mini_flock, flock);
SAME(mini_flock, whence, flock, l_whence);
SAME(mini_flock, start, flock, l_start);
SAME(mini_flock, length, flock, l_len);
SAME(mini_flock, process, flock, l_pid);
SIZE(mini_termios, termios);
SAME(mini_termios, characters, termios, c_cc);
#if defined(__x86_64__)
SIZE(mini_stat, stat);
SAME(mini_stat, mode, stat, st_mode);
SAME(mini_stat, size, stat, st_size);
#else
SIZE(mini_stat, stat64);
SAME(mini_stat, mode, stat64, st_mode);
SAME(mini_stat, size, stat64, st_size);
SAME(mini_stat, inode, stat64, st_ino);
#endif

// What the kernel keeps to itself: struct user_msghdr and struct ucred, in machine words.
_Static_assert(sizeof(struct mini_msghdr) == 7 * sizeof(long), "mini_msghdr");
_Static_assert(__builtin_offsetof(struct mini_msghdr, vector) == 2 * sizeof(long), "vector");
_Static_assert(__builtin_offsetof(struct mini_msghdr, flags) == 6 * sizeof(long), "flags");
_Static_assert(sizeof(struct mini_ucred) == 12, "mini_ucred");
