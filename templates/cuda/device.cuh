/* What the kernels are written in: asynchronous copies, tensor-core products and numbers of the network's precision.
   emulation.h has the same functions for a CPU. */
#ifndef CNNGEN_DEVICE_CUH
#define CNNGEN_DEVICE_CUH

#ifdef CNNGEN_EMULATION
#include "emulation.h"
#else
#ifdef __CUDACC_RTC__ /* NVRTC has no headers */
typedef unsigned uint32_t;
#define INFINITY __int_as_float(0x7f800000)
#else
#include <stdint.h>
#endif

#define SHARED_MEMORY(name) extern __shared__ __align__(128) unsigned char name[]
/* A GPU itself refuses an access of several numbers at an address that they do not divide; a CPU has to be told. */
#define ALIGNED(pointer, bytes) (pointer)

template <int BYTES> struct Words;
template <> struct Words<4> { using type = unsigned; };
template <> struct Words<8> { using type = uint2; };
template <> struct Words<16> { using type = uint4; };

/* A number of 16 bits, as __half of cuda_fp16.h, which not every compiler comes with. */
struct float16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ __forceinline__ void put(float16 *to, float x)
{
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
}

template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask)
{
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

/* Copies BYTES (4, 8 or 16) from global to shared memory, or writes zeros where `inside` is false. */
template <int BYTES>
__device__ __forceinline__ void copy_async(void *shared, const void *global, bool inside)
{
#if __CUDA_ARCH__ >= 800
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int filled = inside ? BYTES : 0;
    if constexpr (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(filled) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(BYTES), "r"(filled)
                     : "memory");
    }
#else
    using Word = typename Words<BYTES>::type;
    *static_cast<Word *>(shared) = inside ? *static_cast<const Word *>(global) : Word{};
#endif
}

__device__ __forceinline__ void copy_async_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most PENDING of this thread's groups of copies are not finished. */
template <int PENDING>
__device__ __forceinline__ void copy_async_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

/* Four 8 x 16 byte matrices: lane i gives the address of row i % 8 of matrix i / 8, and gets bytes
   4 (lane % 4) ... of row lane / 4 of each. */
__device__ __forceinline__ void load_matrices(uint32_t (&registers)[4], const void *row)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
}

/* To 11 significant bits, ties away from zero. */
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t bits)
{
#if __CUDA_ARCH__ >= 800
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
#else
    return bits;
#endif
}

/* sum += a b: 16 rows times 8 columns, 16 numbers along k. */
__device__ __forceinline__ void multiply_fp16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; ++half) {
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
}

/* sum += a b: 16 rows times 8 columns, 8 numbers along k. */
__device__ __forceinline__ void multiply_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap(); /* no TF32 before sm_80; the planner refuses it */
#endif
}
#endif

/* A row of a tile in shared memory: what lies in all 32 banks once. */
constexpr int TILE_ROW_BYTES = 128;

/* Byte offset of 16-byte chunk `chunk` of row `row` of a tile. The chunks of a row are permuted so that eight rows that
   are read together lie in different banks. */
__device__ __forceinline__ int swizzled(int row, int chunk)
{
    return TILE_ROW_BYTES * row + 16 * (chunk ^ (row & 7));
}

/* A row above every image: where a pixel behind the last one of a tile would read. */
constexpr int OUTSIDE = -(1 << 29);

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ void put(float *to, float x) { *to = x; }

/* Sixteen bytes of shared memory as numbers. */
__device__ __forceinline__ void load4(float (&to)[4], const void *from)
{
    const float4 four = *static_cast<const float4 *>(ALIGNED(from, 16));
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
}

/* The larger one; NaN where either is NaN. */
__device__ __forceinline__ float max_nan(float a, float b)
{
    return a > b || a != a ? a : b;
}

__device__ __forceinline__ float min_nan(float a, float b)
{
    return a < b || a != a ? a : b;
}

/* N numbers that are loaded or stored together. */
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
    T values[N];
};

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load(const T *from)
{
    return *reinterpret_cast<const Pack<T, N> *>(ALIGNED(from, sizeof(Pack<T, N>)));
}

template <class T, int N>
__device__ __forceinline__ void store(T *to, const float (&values)[N])
{
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) put(pack.values + i, values[i]);
    *reinterpret_cast<Pack<T, N> *>(ALIGNED(to, sizeof pack)) = pack;
}

#endif
