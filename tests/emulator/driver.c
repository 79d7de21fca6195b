/* Runs one generated network step by step and as a whole, and prints hashes of what it wrote.

   case.h says which network: NETWORK(part) makes its names, RUN calls it, inputs.bin holds its inputs one behind
   the other. With an argument, the outputs go to the file of that name. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

#include "case.h"

__asm__(".section .rodata\n"
        ".balign 64\n"
        "inputs_bin:\n"
        ".incbin \"inputs.bin\"\n"
        ".previous\n");
extern const float inputs_bin[] __asm__("inputs_bin");

enum { OUTPUTS = sizeof output_floats / sizeof *output_floats, INPUTS = sizeof input_floats / sizeof *input_floats };

static const float *inputs[INPUTS];
static float *outputs[OUTPUTS];
static void *arena;

/* Memory with all bits set, NaN as floats: whatever is read before it is written shows. */
static void *fresh(size_t bytes)
{
    const size_t whole = (bytes + 64) / 64 * 64;
    void *memory = aligned_alloc(64, whole);
    if (!memory) {
        printf("out of memory\n");
        exit(2);
    }
    return memset(memory, 0xff, whole);
}

#define START 0xcbf29ce484222325u

/* FNV-1a over 32-bit words, mixed downwards, too */
static uint64_t hash(uint64_t h, const void *data, size_t bytes)
{
    const uint32_t *words = data;
    for (size_t i = 0; i < bytes / 4; ++i) {
        h = (h ^ words[i]) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

static void erase(void)
{
    memset(arena, 0xff, NETWORK(arena_size)());
    for (int i = 0; i < OUTPUTS; ++i) memset(outputs[i], 0xff, 4 * output_floats[i]);
}

/* prints and returns the hash of each output */
static void print_outputs(const char *what, uint64_t hashes[OUTPUTS])
{
    for (int i = 0; i < OUTPUTS; ++i) {
        hashes[i] = hash(START, outputs[i], 4 * output_floats[i]);
        printf("%s output %d: %016llx, first %a\n", what, i, (unsigned long long)hashes[i], (double)outputs[i][0]);
    }
}

int main(int argc, char **argv)
{
    const size_t arena_bytes = NETWORK(arena_size)();
    size_t floats = 0;
    for (int i = 0; i < INPUTS; ++i) {
        float *input = fresh(4 * input_floats[i]);
        inputs[i] = memcpy(input, inputs_bin + floats, 4 * input_floats[i]);
        floats += input_floats[i];
    }
    for (int i = 0; i < OUTPUTS; ++i) outputs[i] = fresh(4 * output_floats[i]);
    arena = fresh(arena_bytes);

    uint64_t apart[OUTPUTS], whole[OUTPUTS];
    const unsigned mxcsr = _mm_getcsr();
    for (int step = 0; step < STEPS; ++step) {
        NETWORK(run_steps)(step, step + 1, inputs, outputs, arena, NULL);
        uint64_t h = hash(START, arena, arena_bytes);
        for (int i = 0; i < OUTPUTS; ++i) h = hash(h, outputs[i], 4 * output_floats[i]);
        printf("step %d: %016llx\n", step, (unsigned long long)h);
    }
    print_outputs("steps", apart);
    erase();
    RUN(inputs, outputs, arena);
    print_outputs("run", whole);
    if (memcmp(apart, whole, sizeof whole)) {
        printf("the steps apart do not give what the run gives\n");
        return 1;
    }
    /* the low six bits are exception flags, which any arithmetic may raise */
    if ((_mm_getcsr() ^ mxcsr) & ~0x3fu) {
        printf("mxcsr was %08x, is %08x\n", mxcsr, _mm_getcsr());
        return 1;
    }

    if (argc > 1) {
        FILE *file = fopen(argv[1], "wb");
        if (!file) return 2;
        for (int i = 0; i < OUTPUTS; ++i) fwrite(outputs[i], 4, output_floats[i], file);
        if (fclose(file)) return 2;
    }
    return 0;
}
