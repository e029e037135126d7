/* What `mini-grant map --exec` runs in the tests: maps the pages that it was handed and writes them to
 * standard output; with a word, first puts the word at their start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long number(const char *name) {
    const char *text = getenv(name);
    if (!text) fprintf(stderr, "%s is not set\n", name), exit(1);
    return strtol(text, NULL, 10);
}

int main(int count, char **words) {
    size_t size = (size_t)number("GNTDEV_COUNT") * 4096;
    int protection = count > 1 ? PROT_READ | PROT_WRITE : PROT_READ;
    char *pages = mmap(NULL, size, protection, MAP_SHARED, (int)number("GNTDEV_FD"), number("GNTDEV_INDEX"));
    if (pages == MAP_FAILED) return perror("mmap"), 1;
    if (count > 1) memcpy(pages, words[1], strlen(words[1]));
    return write(1, pages, size) != (ssize_t)size;
}
