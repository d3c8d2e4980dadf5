#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lisa/cuda/element.hpp"

namespace lisa::cuda {

/// The kernels' device policy on a GPU from sm_80 on: everything that a kernel asks of the machine. Kernels are
/// templates over the policy, so that tests run the same source on the CPU (tests/simt/device.hpp).
///
/// All lanes of a warp take part in its operations; blocks have one dimension and whole warps.
struct GpuDevice {
  /// Of the thread in its block.
  static __device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }
  static __device__ __forceinline__ BlockIndex block_index() {
    return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
  }
  /// The block's dynamic shared memory, aligned for every access.
  static __device__ __forceinline__ std::byte* shared_memory() {
    extern __shared__ __align__(128) unsigned char lisa_shared_memory[];
    return reinterpret_cast<std::byte*>(lisa_shared_memory);
  }

  /// Waits for all threads of the block; orders their accesses.
  static __device__ __forceinline__ void barrier() { __syncthreads(); }
  /// Waits for the lanes of the warp; orders their accesses, which the operations below do not.
  static __device__ __forceinline__ void sync_warp() { __syncwarp(); }

  /// The value of lane `lane`.
  template <class T>
  static __device__ __forceinline__ T shuffle(T value, int lane) {
    return __shfl_sync(all_lanes, value, lane);
  }
  /// The value of the lane `distance` below; the own value where there is none.
  template <class T>
  static __device__ __forceinline__ T shuffle_up(T value, int distance) {
    return __shfl_up_sync(all_lanes, value, static_cast<unsigned>(distance));
  }
  /// The value of the lane whose number differs in the bits of `lane_mask`.
  template <class T>
  static __device__ __forceinline__ T shuffle_xor(T value, int lane_mask) {
    return __shfl_xor_sync(all_lanes, value, lane_mask);
  }
  /// Bit l is lane l's vote.
  static __device__ __forceinline__ std::uint32_t ballot(bool vote) { return __ballot_sync(all_lanes, vote); }

  /// Four 8x8 matrices of 16-bit elements from shared memory: lane l names row l % 8 of matrix l / 8, 16 bytes aligned
  /// to 16. Of each matrix lane l gets row l / 4, columns 2 (l % 4) and the next.
  static __device__ __forceinline__ void load_matrix(std::uint32_t (&fragment)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
  /// As `load_matrix`, of the transposed matrices.
  static __device__ __forceinline__ void load_matrix_transposed(std::uint32_t (&fragment)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
  /// sum [16, 8] += a [16, 16] b [16, 8] with fp32 sums, in the fragments of mma.m16n8k16.
  template <class Element>
  static __device__ __forceinline__ void multiply(float (&sum)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<Element, Bf16>) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
          "%2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
      static_assert(std::is_same_v<Element, Fp16>, "GpuDevice: matrix products take bf16 or fp16");
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
          "%2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }

  /// Starts to copy 16 bytes from global to shared memory, both aligned to 16; without `read` they become zero and
  /// `global` is not read. They may be relied on, by this thread, after the `wait_copies` that covers them.
  static __device__ __forceinline__ void copy_async(void* shared, const void* global, bool read) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(read ? 16 : 0)
                 : "memory");
  }
  /// Ends a group of copies of this thread.
  static __device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  /// Waits until at most the last `pending` groups of this thread are on their way.
  template <int pending>
  static __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
  }

  /// 16 bytes in one access; the address is a multiple of 16.
  static __device__ __forceinline__ Vector16 load16(const void* address) {
    const uint4 value = *static_cast<const uint4*>(address);
    return {{value.x, value.y, value.z, value.w}};
  }
  /// As `load16`, of memory that nobody needs again soon: it is the first to leave the caches.
  static __device__ __forceinline__ Vector16 load16_once(const void* address) {
    const uint4 value = __ldcs(static_cast<const uint4*>(address));
    return {{value.x, value.y, value.z, value.w}};
  }
  static __device__ __forceinline__ void store16(void* address, const Vector16& value) {
    *static_cast<uint4*>(address) = make_uint4(value.words[0], value.words[1], value.words[2], value.words[3]);
  }

  /// The next number of a counter in global memory, which begins again at 0 behind `last`. What happened before, for
  /// this thread, has happened for whoever takes a later number of the counter, and for whom that thread meets at a
  /// barrier.
  static __device__ __forceinline__ std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t last) {
    std::uint32_t number;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(number) : "l"(counter), "r"(last) : "memory");
    return number;
  }

  /// 2^x with a relative error of 2^-22; subnormal results are 0.
  static __device__ __forceinline__ float exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  /// The same value, of which the compiler knows nothing: what a loop derives from it is computed in the loop, not kept
  /// in registers from before it.
  static __device__ __forceinline__ int unknown(int value) {
    asm volatile("" : "+r"(value));
    return value;
  }
  /// Rounded once: never contracted into a fused multiply-add.
  static __device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
  static __device__ __forceinline__ float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
  static __device__ __forceinline__ int popcount(std::uint32_t bits) { return __popc(bits); }
  /// Of bits that are not all zero.
  static __device__ __forceinline__ int trailing_zeros(std::uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

  /// Two values rounded to nearest, ties to even.
  template <class Element>
  static __device__ __forceinline__ ElementPair pack(float low, float high) {
    ElementPair pair;
    if constexpr (std::is_same_v<Element, Bf16>) {
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    } else {
      static_assert(std::is_same_v<Element, Fp16>, "GpuDevice: pairs are of bf16 or fp16");
      asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    }
    return pair;
  }
  /// Four bytes of eight, those of `low` and then of `high`: digit i of the hexadecimal `which` says what byte i is.
  static __device__ __forceinline__ std::uint32_t select_bytes(std::uint32_t low, std::uint32_t high,
                                                               std::uint32_t which) {
    return __byte_perm(low, high, which);
  }
  /// The float that is held as these bits.
  static __device__ __forceinline__ float float_of_bits(std::uint32_t bits) { return __uint_as_float(bits); }
  static __device__ __forceinline__ float to_float(float value) { return value; }
  static __device__ __forceinline__ float to_float(Bf16 value) {
    return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
  }
  static __device__ __forceinline__ float to_float(Fp16 value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
  }

 protected:
  static constexpr unsigned all_lanes = 0xFFFFFFFF;

  static __device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
};

}  // namespace lisa::cuda
