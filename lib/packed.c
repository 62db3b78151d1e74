/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "packed.h"

#include <string.h>

enum number { SEQ, CREATED, PAYLOAD, TOPIC, KEY, AVAILABLE, STATE, MAX_ATTEMPTS, HEADERS, CONTENT_TYPE, MESSAGE_TYPE, NUMBERS };

/* The columns of numbers and texts in OUTBOX_RECORD_TYPES; texts in the order in which they follow each other. */
static const struct {
    enum number number;
    int column;
} numbers[] = { { SEQ, 1 }, { MAX_ATTEMPTS, 9 }, { CREATED, 10 }, { AVAILABLE, 11 }, { STATE, 12 } },
  texts[] = { { TOPIC, 3 }, { KEY, 4 }, { HEADERS, 6 }, { CONTENT_TYPE, 7 }, { MESSAGE_TYPE, 8 } };
#define COLUMNS 17
#define COUNT_OF(list) (sizeof(list) / sizeof((list)[0]))

/* Digits up to what is none; without any it is NULL. NULL is returned when it is too large for a number. */
static char *take_number(char *at, struct outbox_value *value)
{
    int negative = *at == '-';
    uint64_t number = 0;
    char *from = at + negative;

    for (at = from; *at >= '0' && *at <= '9' && at - from < 19; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    if ((*at >= '0' && *at <= '9') || (negative && at == from) || number > (uint64_t)INT64_MAX + (unsigned)negative)
        return NULL;
    value->type = at == from ? OUTBOX_T_NULL_INT : OUTBOX_T_INT;
    value->number = !negative ? (int64_t)number : number == 0 ? 0 : -(int64_t)(number - 1) - 1;
    return at;
}

/* Those before the semicolon, without or with the optional ones. */
static char *take_numbers(char *at, struct outbox_value *found)
{
    size_t i;

    for (i = 0; i < NUMBERS; i++)
        found[i] = (struct outbox_value){ OUTBOX_T_NULL_INT, 0, NULL, 0 };
    for (i = 0; i < NUMBERS; i++) {
        at = take_number(at, &found[i]);
        if (at == NULL || *at != ',' || i == NUMBERS - 1)
            break;
        at++;
    }
    return at != NULL && *at == ';' && (i == KEY || i == NUMBERS - 1) ? at + 1 : NULL;
}

/* 1 when all that the numbers announce is there, and nothing else. */
static int is_whole(const struct outbox_value *found, size_t left)
{
    size_t i;

    if (found[SEQ].type != OUTBOX_T_INT || found[PAYLOAD].type != OUTBOX_T_INT || left < OUTBOX_PACKED_ID)
        return 0;
    left -= OUTBOX_PACKED_ID;
    for (i = 0; i < COUNT_OF(texts); i++) {
        int64_t size = found[texts[i].number].number;

        if (size < 0 || (uint64_t)size > left)
            return 0;
        left -= (size_t)size;
    }
    return left % 2 == 0 && found[PAYLOAD].number >= 0 && (uint64_t)found[PAYLOAD].number == left / 2;
}

int outbox_packed__fits(const char *text, const char *end, int64_t *seq)
{
    struct outbox_value found[NUMBERS];
    const char *from = take_numbers((char *)(uintptr_t)text, found);

    *seq = from != NULL ? found[SEQ].number : 0;
    return from != NULL && is_whole(found, (size_t)(end - from));
}

/* Each byte of eight characters at once: what a digit or letter stands for, and whether it is none. */
#define BYTES(n) (UINT64_C(0x0101010101010101) * (n))
static uint64_t above(uint64_t x, unsigned n) /* the highest bit of those that are above n; all are below 128 */
{
    return (x + BYTES(127 - n)) & BYTES(128);
}

static int is_hex(uint64_t x)
{
    uint64_t digit, letter;

    if ((x & BYTES(128)) != 0)
        return 0;
    digit = above(x, '0' - 1) & ~above(x, '9');
    x |= BYTES(0x20); /* upper case is lower case, and no digit changes */
    letter = above(x, 'a' - 1) & ~above(x, 'f');
    return (digit | letter) == BYTES(128);
}

static uint64_t nibbles(uint64_t x)
{
    return (x & BYTES(15)) + ((x >> 6) & BYTES(1)) * 9;
}

/* to may be from, or before it. */
static int take_hex(const char *from, size_t size, unsigned char *to)
{
    size_t i;

    for (i = 0; i < size; i++) {
        uint64_t x;

        if (size - i >= 4) {
            unsigned char got[8];

            memcpy(&x, from + 2 * i, 8);
            if (!is_hex(x))
                return 0;
            x = nibbles(x);
            memcpy(got, &x, 8);
            to[i] = (unsigned char)(got[0] << 4 | got[1]);
            to[i + 1] = (unsigned char)(got[2] << 4 | got[3]);
            to[i + 2] = (unsigned char)(got[4] << 4 | got[5]);
            to[i + 3] = (unsigned char)(got[6] << 4 | got[7]);
            i += 3;
            continue;
        }
        x = BYTES('0');
        memcpy(&x, from + 2 * i, 2);
        if (!is_hex(x))
            return 0;
        x = nibbles(x);
        to[i] = (unsigned char)(((unsigned char *)&x)[0] << 4 | ((unsigned char *)&x)[1]);
    }
    return 1;
}

/* Texts with a semicolon behind each, in place; NULL when there are fewer. */
static char *take_words(char *text, const char *end, struct outbox_value *words, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        char *stop = memchr(text, ';', (size_t)(end - text));

        if (stop == NULL)
            return NULL;
        *stop = '\0';
        words[i] = (struct outbox_value){ OUTBOX_T_NULL_TEXT, 0, NULL, 0 };
        if (stop > text)
            words[i] = (struct outbox_value){ OUTBOX_T_TEXT, 0, text, (size_t)(stop - text) };
        text = stop + 1;
    }
    return text;
}

int outbox_packed__head(char *text, char *end, struct outbox_value head[OUTBOX_PACKED_HEAD])
{
    text = take_words(text, end, head, OUTBOX_PACKED_DEFERRED);
    return text != NULL && take_number(text, &head[OUTBOX_PACKED_DEFERRED]) == end ? OUTBOX_OK : OUTBOX_NONE;
}

int outbox_packed__lane(char *text, char *end, struct outbox_value lane[OUTBOX_PACKED_LANE_CELLS])
{
    struct outbox_value found[NUMBERS];
    int i;

    if (text == end || *text != 'L' || (text = take_numbers(text + 1, found)) == NULL)
        return OUTBOX_NONE;
    for (i = 0; i < OUTBOX_PACKED_SNAP; i++) {
        if (found[i].type != OUTBOX_T_INT)
            return OUTBOX_NONE;
        lane[i] = found[i];
    }
    text = take_words(text, end, &lane[OUTBOX_PACKED_SNAP], OUTBOX_PACKED_LANE_DEFERRED - OUTBOX_PACKED_SNAP);
    return text != NULL && lane[OUTBOX_PACKED_SNAP].type == OUTBOX_T_TEXT &&
                   lane[OUTBOX_PACKED_LANE_XBOUND].type == OUTBOX_T_TEXT &&
                   take_number(text, &lane[OUTBOX_PACKED_LANE_DEFERRED]) == end ? OUTBOX_OK : OUTBOX_NONE;
}

/* The NULs find room where numbers and id were. */
int outbox_packed__take(char *text, char *end, char id[OUTBOX_PACKED_ID + 1], struct outbox_value *cells)
{
    struct outbox_value found[NUMBERS];
    char *to = text, *from = take_numbers(text, found);
    size_t i, size;

    if (from == NULL || !is_whole(found, (size_t)(end - from)))
        return OUTBOX_NONE;
    for (i = 0; i < COLUMNS; i++)
        cells[i] = (struct outbox_value){ OUTBOX_T_NULL_TEXT, 0, NULL, 0 };
    memcpy(id, from, OUTBOX_PACKED_ID);
    id[OUTBOX_PACKED_ID] = '\0';
    cells[2] = (struct outbox_value){ OUTBOX_T_TEXT, 0, id, OUTBOX_PACKED_ID };
    from += OUTBOX_PACKED_ID;
    for (i = 0; i < COUNT_OF(numbers); i++)
        cells[numbers[i].column] = found[numbers[i].number];
    if (found[STATE].type != OUTBOX_T_INT)
        cells[12] = (struct outbox_value){ OUTBOX_T_INT, OUTBOX_PENDING, NULL, 0 };
    for (i = 0; i < COUNT_OF(texts); i++) {
        if (found[texts[i].number].type != OUTBOX_T_INT)
            continue;
        size = (size_t)found[texts[i].number].number;
        cells[texts[i].column] = (struct outbox_value){ OUTBOX_T_TEXT, 0, memmove(to, from, size), size };
        to[size] = '\0';
        to += size + 1;
        from += size;
    }
    size = (size_t)found[PAYLOAD].number;
    if (!take_hex(from, size, (unsigned char *)to))
        return OUTBOX_NONE;
    to[size] = '\0';
    cells[5] = (struct outbox_value){ OUTBOX_T_BYTES, 0, to, size };
    return OUTBOX_OK;
}
