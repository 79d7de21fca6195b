/* Runs CUDA kernels on a CPU: the blocks of a grid in turn, the threads of a block as fibers.

   It proves arithmetic and indexing, not speed, and of races only those that the order of the fibers shows: a warp runs
   until all its threads wait for other warps, then the next one; between two barriers first to last, between the next
   two last to first, or the other way round. What it checks beyond results:
   - every thread of a block reaches the same barrier, every lane of a warp the same exchange;
   - shared memory holds NaN when a block starts, and nothing is written beside it;
   - several numbers that are read or written together lie at an address that their bytes divide;
   - an asynchronous copy has not happened until its group was waited for (first to last), or happens at once (last to
     first): both may be on a GPU. */
#ifndef CNNGEN_EMULATION_H
#define CNNGEN_EMULATION_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmath>
#include <functional>
#include <mutex>
#include <vector>

namespace emulation {

constexpr int WARP = 32;
constexpr size_t STACK_BYTES = 128 << 10;
constexpr size_t MARGIN = 4096;         /* watched bytes on either side of shared memory */
constexpr unsigned char POISON = 0xff;  /* NaN in every format */

struct Index {
    unsigned x = 1, y = 1, z = 1;
    size_t count() const { return size_t(x) * y * z; }
};

struct Copy {
    void *to;
    const void *from;
    int bytes, filled; /* the rest of `bytes` becomes zero */
};

/* One thread of a block. `site` is the line of the barrier or exchange that it waits at. */
struct Fiber {
    enum State { ready, at_block, at_warp, done } state = ready;
    bool started = false;
    int site = 0;
    Index thread;
    unsigned number = 0;
    int parity = 0; /* of the exchange buffer of its warp */
    jmp_buf context;
    ucontext_t entry;
    std::vector<std::vector<Copy>> groups; /* committed copies, the oldest first */
    std::vector<Copy> open;                /* copies of no group yet */
};

/* What one lane shows to the others of its warp. */
struct Exchange {
    const void *address;
    uint32_t words[16];
};

struct Machine {
    std::vector<Fiber> fibers;
    std::vector<Exchange> exchanges; /* two for each thread */
    std::vector<unsigned char *> stacks;
    std::vector<unsigned char> shared;
    size_t shared_bytes = 0;
    Index grid, block, block_index;
    bool backwards = false; /* blocks and threads run last to first */
    Fiber *current = nullptr;
    jmp_buf scheduler;
    ucontext_t scheduler_entry;
    const std::function<void()> *kernel = nullptr;
    char error[400] = "";

    unsigned char *stack(size_t number)
    {
        while (stacks.size() <= number) {
            void *memory = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            stacks.push_back(static_cast<unsigned char *>(memory));
        }
        return stacks[number];
    }
};

inline Machine machine;
inline std::mutex machine_lock; /* one grid at a time */

template <class... Values>
void fail(const char *format, Values... values)
{
    if (!machine.error[0]) snprintf(machine.error, sizeof machine.error, format, values...);
}

/* Back to the scheduler, until it switches here again. */
inline void wait(Fiber::State state, int site)
{
    Fiber &fiber = *machine.current;
    fiber.state = state;
    fiber.site = site;
    if (!_setjmp(fiber.context)) _longjmp(machine.scheduler, 1);
}

inline void enter()
{
    (*machine.kernel)();
    machine.current->state = Fiber::done;
    _longjmp(machine.scheduler, 1);
}

inline void resume(Fiber &fiber)
{
    machine.current = &fiber;
    if (_setjmp(machine.scheduler)) return;
    if (fiber.started) _longjmp(fiber.context, 1);
    fiber.started = true;
    getcontext(&fiber.entry);
    fiber.entry.uc_stack.ss_sp = machine.stack(fiber.number);
    fiber.entry.uc_stack.ss_size = STACK_BYTES;
    fiber.entry.uc_link = nullptr;
    makecontext(&fiber.entry, enter, 0);
    setcontext(&fiber.entry);
}

/* Lets the threads `first` to `last` go on if all of them wait in `state` at one place; false where they differ. */
inline bool release(size_t first, size_t last, Fiber::State state)
{
    for (size_t i = first; i < last; ++i) {
        if (machine.fibers[i].state != state || machine.fibers[i].site != machine.fibers[first].site) return false;
    }
    for (size_t i = first; i < last; ++i) machine.fibers[i].state = Fiber::ready;
    return true;
}

/* Runs the warp whose first thread is `first` until it ends or waits for other warps: as far ahead of them as it can
   come, so that what it should have waited for is not there yet. */
inline void run_warp(size_t first, bool backwards)
{
    const size_t left = machine.fibers.size() - first, count = left < WARP ? left : WARP;
    do {
        for (size_t i = 0; i < count; ++i) {
            Fiber &fiber = machine.fibers[first + (backwards ? count - 1 - i : i)];
            if (fiber.state == Fiber::ready) resume(fiber);
        }
    } while (release(first, first + count, Fiber::at_warp));
}

inline void run_block()
{
    auto &fibers = machine.fibers;
    const size_t count = machine.block.count();
    fibers.assign(count, Fiber());
    machine.exchanges.assign(2 * count, Exchange());
    machine.shared.assign(machine.shared_bytes + 2 * MARGIN, POISON);
    for (size_t i = 0; i < count; ++i) {
        const unsigned x = machine.block.x, y = machine.block.y;
        fibers[i].number = unsigned(i);
        fibers[i].thread = {unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y)};
    }
    const size_t warps = (count + WARP - 1) / WARP;
    bool backwards = machine.backwards;
    do {
        for (size_t i = 0; i < warps; ++i) run_warp(WARP * (backwards ? warps - 1 - i : i), backwards);
        backwards = !backwards;
    } while (release(0, count, Fiber::at_block));
    for (Fiber &fiber : fibers) {
        if (fiber.state == Fiber::done) continue;
        return fail("thread %u of block (%u, %u, %u) waits at line %d, where others never arrive", fiber.number,
                    machine.block_index.x, machine.block_index.y, machine.block_index.z, fiber.site);
    }
    for (size_t i = 0; i < MARGIN; ++i) {
        if (machine.shared[i] != POISON || machine.shared[MARGIN + machine.shared_bytes + i] != POISON) {
            return fail("block (%u, %u, %u) wrote beside its %zu bytes of shared memory", machine.block_index.x,
                        machine.block_index.y, machine.block_index.z, machine.shared_bytes);
        }
    }
}

/* Runs `kernel` for every thread of every block. */
inline void launch(Index grid, Index block, size_t shared_bytes, const std::function<void()> &kernel)
{
    if (machine.error[0]) return;
    machine.grid = grid;
    machine.block = block;
    machine.shared_bytes = shared_bytes;
    machine.kernel = &kernel;
    const size_t count = grid.count();
    for (size_t i = 0; i < count && !machine.error[0]; ++i) {
        const size_t number = machine.backwards ? count - 1 - i : i;
        machine.block_index = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
                               unsigned(number / grid.x / grid.y)};
        run_block();
    }
}

inline unsigned char *shared_memory()
{
    return machine.shared.data() + MARGIN;
}

/* What this lane shows, and (after all lanes of the warp have come here) what the others show. */
template <class Show>
const Exchange *exchange(int site, Show show)
{
    Fiber &fiber = *machine.current;
    const size_t first = fiber.number / WARP * WARP;
    Exchange *buffer = machine.exchanges.data() + fiber.parity * machine.fibers.size();
    fiber.parity ^= 1; /* nobody can be two exchanges ahead: two buffers do */
    show(buffer[fiber.number]);
    wait(Fiber::at_warp, site);
    return buffer + first;
}

inline int lane()
{
    return int(machine.current->number % WARP);
}

inline void perform(const Copy &copy)
{
    memcpy(copy.to, copy.from, size_t(copy.filled));
    memset(static_cast<char *>(copy.to) + copy.filled, 0, size_t(copy.bytes - copy.filled));
}

inline void wait_copies(size_t pending)
{
    auto &groups = machine.current->groups;
    while (groups.size() > pending) {
        for (const Copy &copy : groups.front()) perform(copy);
        groups.erase(groups.begin());
    }
}

/* The same pointer, which several numbers of so many bytes together are read from or written to. */
template <class T>
T *aligned(T *pointer, size_t bytes, int site)
{
    if (reinterpret_cast<uintptr_t>(pointer) % bytes) {
        fail("thread %u of block (%u, %u, %u) reads or writes %zu bytes at an address that they do not divide, at line %d",
             machine.current->number, machine.block_index.x, machine.block_index.y, machine.block_index.z, bytes, site);
    }
    return pointer;
}

template <class To, class From>
To as(From value)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

}  // namespace emulation

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define threadIdx (emulation::machine.current->thread)
#define blockIdx (emulation::machine.block_index)
#define blockDim (emulation::machine.block)
#define gridDim (emulation::machine.grid)
#define __syncthreads() emulation::wait(emulation::Fiber::at_block, __LINE__)
#define __syncwarp() emulation::wait(emulation::Fiber::at_warp, __LINE__)
#define SHARED_MEMORY(name) unsigned char *const name = emulation::shared_memory()
#define ALIGNED(pointer, bytes) (emulation::aligned(pointer, bytes, __LINE__))

struct alignas(16) float4 {
    float x, y, z, w;
};
typedef _Float16 float16;
inline float to_float(float16 x) { return float(x); }
inline void put(float16 *to, float x) { *to = float16(x); }

inline float normcdff(float x) { return float(0.5 * erfc(-0.70710678118654752 * double(x))); }

template <class T>
T shuffle_xor(T value, int mask)
{
    using emulation::Exchange;
    const Exchange *warp =
        emulation::exchange(__LINE__, [&](Exchange &mine) { mine.words[0] = emulation::as<uint32_t>(value); });
    return emulation::as<T>(warp[emulation::lane() ^ mask].words[0]);
}

template <int BYTES>
void copy_async(void *shared, const void *global, bool inside)
{
    emulation::aligned(global, BYTES, __LINE__);
    const emulation::Copy copy = {emulation::aligned(shared, BYTES, __LINE__), global, BYTES, inside ? BYTES : 0};
    if (emulation::machine.backwards) return emulation::perform(copy);
    emulation::machine.current->open.push_back(copy);
}

inline void copy_async_commit()
{
    emulation::Fiber &fiber = *emulation::machine.current;
    fiber.groups.push_back(fiber.open);
    fiber.open.clear();
}

template <int PENDING>
void copy_async_wait()
{
    emulation::wait_copies(PENDING);
}

inline void load_matrices(uint32_t (&registers)[4], const void *row)
{
    using emulation::Exchange;
    emulation::aligned(row, 16, __LINE__);
    const Exchange *warp = emulation::exchange(__LINE__, [&](Exchange &mine) { mine.address = row; });
    const int lane = emulation::lane();
    for (int matrix = 0; matrix < 4; ++matrix) {
        const void *address = warp[8 * matrix + lane / 4].address;
        memcpy(&registers[matrix], static_cast<const char *>(address) + 4 * (lane % 4), 4);
    }
}

/* To 11 significant bits, ties away from zero, as cvt.rna.tf32.f32 does. */
inline uint32_t round_to_tf32(uint32_t bits)
{
    const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return finite ? (bits + 0x1000u) & 0xffffe000u : bits;
}

/* sum += a b for a warp: 16 rows, 8 columns, 32 bytes along k; `element` reads one number of a lane's word. */
template <int PER_WORD, class Element>
void multiply_warp(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Element element)
{
    using emulation::Exchange;
    const Exchange *warp = emulation::exchange(__LINE__, [&](Exchange &mine) {
        memcpy(mine.words, a, sizeof a);
        memcpy(mine.words + 4, b, sizeof b);
    });
    const int row = emulation::lane() / 4, column = emulation::lane() % 4 * 2;
    for (int i = 0; i < 4; ++i) {
        const Exchange *rows = warp + 4 * row, *columns = warp + 4 * (column + i % 2);
        float total = sum[i];
        for (int half = 0; half < 2; ++half) {
            for (int word = 0; word < 4; ++word) {
                for (int j = 0; j < PER_WORD; ++j) {
                    const float x = element(rows[word].words[2 * half + i / 2], j);
                    total = fmaf(x, element(columns[word].words[4 + half], j), total);
                }
            }
        }
        sum[i] = total;
    }
}

inline void multiply_fp16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    multiply_warp<2>(sum, a, b, [](uint32_t word, int j) {
        return float(emulation::as<float16>(uint16_t(word >> (16 * j))));
    });
}

inline void multiply_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    multiply_warp<1>(sum, a, b, [](uint32_t word, int) { return emulation::as<float>(word & 0xffffe000u); });
}

#endif
