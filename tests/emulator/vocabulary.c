/* Runs every operation of the vector vocabulary on many operands, and prints a hash of each one's results.

   operations.h defines COUNT, the operands of each array, and a table of functions over arrays. operands.bin holds
   arrays a, b, c of any bits, then arrays of what v_pow2 and v_reduce_max take. One NaN is as good as another. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "operations.h"

__asm__(".section .rodata\n"
        ".balign 64\n"
        "operands_bin:\n"
        ".incbin \"operands.bin\"\n"
        ".previous\n");
extern const float operands_bin[] __asm__("operands_bin");

static float result[COUNT];

static uint64_t hash(size_t count)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, result + i, 4);
        if ((bits & 0x7fffffffu) > 0x7f800000u) bits = 0x7fc00000u;
        h = (h ^ bits) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

int main(void)
{
    const size_t rows = COUNT / (size_t)lanes();
    const float *a = operands_bin, *b = a + COUNT, *c = b + COUNT, *integral = c + COUNT, *ordered = integral + COUNT;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; ++i) {
        const float *first = strcmp(operations[i].name, "v_pow2") ? a : integral;
        /* a vector at a time, for v_set1 takes the first float of what it is given */
        for (size_t k = 0; k < COUNT; k += (size_t)lanes())
            operations[i].run(first + k, b + k, c + k, result + k, lanes());
        printf("%s: %016llx\n", operations[i].name, (unsigned long long)hash(COUNT));
    }
    v_reduce_max_(ordered, result, COUNT);
    /* of two zeros either may be the largest */
    for (size_t i = 0; i < rows; ++i) result[i] += 0.0f;
    printf("v_reduce_max: %016llx\n", (unsigned long long)hash(rows));
    return 0;
}
