/* Texts that grow, for bench/backend.c: the bytes, and a NUL behind them. What fails ends the program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *data;
    size_t len, room;
} Text;

static void fail(const char *what) {
    fprintf(stderr, "backend: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void reserve(Text *t, size_t room) {
    if (t->room >= room) return;
    size_t grown = t->room ? t->room : 4096;
    while (grown < room) grown *= 2;
    if (!(t->data = realloc(t->data, grown))) fail("memory");
    t->room = grown;
}

static void add(Text *t, const void *data, size_t len) {
    reserve(t, t->len + len + 1);
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = 0;
}

static void add_string(Text *t, const char *s) { add(t, s, strlen(s)); }

static Text read_text(const char *dir, const char *name) {
    char path[4096], piece[65536];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    Text text = {0};
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) add(&text, piece, n);
    fclose(file);
    return text;
}
