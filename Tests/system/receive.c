// Listens on a local socket as QEMU's monitor does, takes one message with an open file in it, writes a line into that file and
// answers. With a second word it is a socket of datagrams, as syslog's: one message, and no answer. receive SOCKET [datagrams]
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc < 2) return 2;
    int is_stream = argc == 2;
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || (is_stream && listen(listener, 1))) return 1;
    for (;;) {
        int peer = is_stream ? accept(listener, NULL, NULL) : listener;
        char text[4096], control[CMSG_SPACE(sizeof(int))];
        struct iovec piece = {text, sizeof text - 1};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t count = recvmsg(peer, &message, 0);
        if (count <= 0) {
            close(peer);
            continue;
        }
        text[count] = 0;
        printf("received %s", text);
        fflush(stdout);
        if (!is_stream) return 0;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        int file = -1;
        if (head && head->cmsg_type == SCM_RIGHTS) memcpy(&file, CMSG_DATA(head), sizeof file);
        if (file >= 0) dprintf(file, "from the receiver\n");
        dprintf(peer, "{\"return\": {\"fdset-id\": 1}}\n");
        read(peer, text, sizeof text);
        return file >= 0 ? 0 : 3;
    }
}
