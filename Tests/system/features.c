// features INTERFACE: whether what goes out through it may be without a checksum, and longer than a frame: "1 1" or "0 0".
// Source: linux/ethtool.h.

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int count, char **words) {
    int socket_number = socket(AF_INET, SOCK_DGRAM, 0);
    unsigned asked[] = {ETHTOOL_GTXCSUM, ETHTOOL_GTSO};
    for (int index = 0; index < 2; index++) {
        struct ethtool_value value = {.cmd = asked[index]};
        struct ifreq request = {0};
        if (count < 2) return 2;
        strncpy(request.ifr_name, words[1], IFNAMSIZ - 1);
        request.ifr_data = (void *)&value;
        if (ioctl(socket_number, SIOCETHTOOL, &request) < 0) return 1;
        printf(index ? " %u\n" : "%u", value.data);
    }
    return 0;
}
