#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/hopper_types.hpp"

namespace lisa::cuda {

/// The element type's name in PTX.
template <class Element>
inline constexpr char ptx_type[] = ".bf16";
template <>
inline constexpr char ptx_type<Fp16>[] = ".f16";

/// The device policy on compute capability 9.0 ("sm_90a"): what GpuDevice has, and copies and products that run beside
/// the threads. Its twin is simt::HopperDevice. A warpgroup is four warps, the first of which has a multiple of four as
/// its number; all its threads take part in its operations.
struct HopperDevice : GpuDevice {
  /// A TensorTiles as the hardware reads it.
  using TensorMap = CUtensorMap;

  /// The block's dynamic shared memory, aligned for the widest swizzle.
  static __device__ __forceinline__ std::byte* shared_memory() {
    extern __shared__ __align__(1024) unsigned char lisa_hopper_shared_memory[];
    return reinterpret_cast<std::byte*>(lisa_hopper_shared_memory);
  }
  /// Address of shared memory for a matrix descriptor.
  static __device__ __forceinline__ std::uint32_t matrix_address(const void* shared) { return shared_address(shared); }

  /// Prepares a barrier for `arrivals` in each phase. `fence_async_proxy` and a barrier of the block must follow.
  static __device__ __forceinline__ void init_barrier(TransactionBarrier* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
  }
  /// Makes what the thread knows of shared memory visible to copies and products: they are another proxy.
  static __device__ __forceinline__ void fence_async_proxy() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  /// Arrives; what the thread did before happens before what those do who wait for the phase.
  static __device__ __forceinline__ void arrive(TransactionBarrier* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
  }
  /// Announces bytes for this phase, and arrives.
  static __device__ __forceinline__ void arrive_expecting(TransactionBarrier* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
  }
  /// Waits until the phase with this parity has ended: number 0 is the first, and before it one with parity 1 counts as
  /// ended.
  static __device__ __forceinline__ void wait_phase(TransactionBarrier* barrier, int parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "waiting:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra waiting;\n"
        "}" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
  }

  /// Starts to copy a tile into shared memory, at a multiple of 128 bytes. One thread does it for all; the tile may be
  /// relied on by those who waited for the phase of `barrier` that its bytes end.
  static __device__ __forceinline__ void load_tile(void* shared, const TensorMap& map, const TileCoordinates& tile,
                                                   TransactionBarrier* barrier) {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5, "
        "%6}], [%7];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(tile.at[0]), "r"(tile.at[1]), "r"(tile.at[2]), "r"(tile.at[3]), "r"(tile.at[4]),
        "r"(shared_address(barrier))
        : "memory");
  }

  /// Must stand between other accesses to these registers and the products that use them, as sums or left operand.
  template <class... Registers>
  static __device__ __forceinline__ void fence_products(Registers&... registers) {
    (pin(registers), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  }
  /// Starts sum [64, 8 tiles] += a [64, 16] b [16, 8 tiles], both in shared memory, a with k contiguous. Until the
  /// `wait_products` that covers it nobody may touch the sums, nor write what it reads. Warp w of the warpgroup has
  /// rows 16 w to 16 w + 15, in the fragments of GpuDevice::multiply.
  /// @tparam major b's contiguous dimension
  template <class Element, Major major, int tiles>
  static __device__ __forceinline__ void multiply_shared(float (&sum)[tiles][4], std::uint64_t a, std::uint64_t b) {
    static_assert(tiles == 8, "HopperDevice: products of two matrices in shared memory have 64 columns");
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32%35%35 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, "
        "%14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1, "
        "0, %34;"
        : "+f"(sum[0][0]), "+f"(sum[0][1]), "+f"(sum[0][2]), "+f"(sum[0][3]), "+f"(sum[1][0]), "+f"(sum[1][1]),
          "+f"(sum[1][2]), "+f"(sum[1][3]), "+f"(sum[2][0]), "+f"(sum[2][1]), "+f"(sum[2][2]), "+f"(sum[2][3]),
          "+f"(sum[3][0]), "+f"(sum[3][1]), "+f"(sum[3][2]), "+f"(sum[3][3]), "+f"(sum[4][0]), "+f"(sum[4][1]),
          "+f"(sum[4][2]), "+f"(sum[4][3]), "+f"(sum[5][0]), "+f"(sum[5][1]), "+f"(sum[5][2]), "+f"(sum[5][3]),
          "+f"(sum[6][0]), "+f"(sum[6][1]), "+f"(sum[6][2]), "+f"(sum[6][3]), "+f"(sum[7][0]), "+f"(sum[7][1]),
          "+f"(sum[7][2]), "+f"(sum[7][3])
        : "l"(a), "l"(b), "n"(static_cast<int>(major)), "C"(ptx_type<Element>));
  }
  /// As `multiply_shared`, with the left operand in registers, which nobody may touch either.
  template <class Element, Major major, int tiles>
  static __device__ __forceinline__ void multiply_registers(float (&sum)[tiles][4], const std::uint32_t (&a)[4],
                                                            std::uint64_t b) {
    static_assert(tiles == 8 || tiles == 10, "HopperDevice: products with registers have 64 or 80 columns");
    if constexpr (tiles == 8) {
      asm volatile(
          "wgmma.mma_async.sync.aligned.m64n64k16.f32%38%38 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "
          "%13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, "
          "%34, %35}, %36, 1, 1, 1, %37;"
          : "+f"(sum[0][0]), "+f"(sum[0][1]), "+f"(sum[0][2]), "+f"(sum[0][3]), "+f"(sum[1][0]), "+f"(sum[1][1]),
            "+f"(sum[1][2]), "+f"(sum[1][3]), "+f"(sum[2][0]), "+f"(sum[2][1]), "+f"(sum[2][2]), "+f"(sum[2][3]),
            "+f"(sum[3][0]), "+f"(sum[3][1]), "+f"(sum[3][2]), "+f"(sum[3][3]), "+f"(sum[4][0]), "+f"(sum[4][1]),
            "+f"(sum[4][2]), "+f"(sum[4][3]), "+f"(sum[5][0]), "+f"(sum[5][1]), "+f"(sum[5][2]), "+f"(sum[5][3]),
            "+f"(sum[6][0]), "+f"(sum[6][1]), "+f"(sum[6][2]), "+f"(sum[6][3]), "+f"(sum[7][0]), "+f"(sum[7][1]),
            "+f"(sum[7][2]), "+f"(sum[7][3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(static_cast<int>(major)), "C"(ptx_type<Element>));
    } else {
      asm volatile(
          "wgmma.mma_async.sync.aligned.m64n80k16.f32%46%46 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "
          "%13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "
          "%34, %35, %36, %37, %38, %39}, {%40, %41, %42, %43}, %44, 1, 1, 1, %45;"
          : "+f"(sum[0][0]), "+f"(sum[0][1]), "+f"(sum[0][2]), "+f"(sum[0][3]), "+f"(sum[1][0]), "+f"(sum[1][1]),
            "+f"(sum[1][2]), "+f"(sum[1][3]), "+f"(sum[2][0]), "+f"(sum[2][1]), "+f"(sum[2][2]), "+f"(sum[2][3]),
            "+f"(sum[3][0]), "+f"(sum[3][1]), "+f"(sum[3][2]), "+f"(sum[3][3]), "+f"(sum[4][0]), "+f"(sum[4][1]),
            "+f"(sum[4][2]), "+f"(sum[4][3]), "+f"(sum[5][0]), "+f"(sum[5][1]), "+f"(sum[5][2]), "+f"(sum[5][3]),
            "+f"(sum[6][0]), "+f"(sum[6][1]), "+f"(sum[6][2]), "+f"(sum[6][3]), "+f"(sum[7][0]), "+f"(sum[7][1]),
            "+f"(sum[7][2]), "+f"(sum[7][3]), "+f"(sum[8][0]), "+f"(sum[8][1]), "+f"(sum[8][2]), "+f"(sum[8][3]),
            "+f"(sum[9][0]), "+f"(sum[9][1]), "+f"(sum[9][2]), "+f"(sum[9][3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(static_cast<int>(major)), "C"(ptx_type<Element>));
    }
  }
  /// Ends a group of products of this warpgroup.
  static __device__ __forceinline__ void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  /// Waits until at most the last `pending` groups of this warpgroup are on their way. `registers` are those that may
  /// be touched again.
  template <int pending, class... Registers>
  static __device__ __forceinline__ void wait_products(Registers&... registers) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
    (pin(registers), ...);
  }

 private:
  /// The compiler, which takes a product for done once it is started, moves no access to these registers across.
  template <int rows, int columns>
  static __device__ __forceinline__ void pin(float (&registers)[rows][columns]) {
#pragma unroll
    for (int row = 0; row < rows; ++row)
#pragma unroll
      for (int column = 0; column < columns; ++column) asm volatile("" : "+f"(registers[row][column])::"memory");
  }
  template <int rows, int columns>
  static __device__ __forceinline__ void pin(std::uint32_t (&registers)[rows][columns]) {
#pragma unroll
    for (int row = 0; row < rows; ++row)
#pragma unroll
      for (int column = 0; column < columns; ++column) asm volatile("" : "+r"(registers[row][column])::"memory");
  }
};

}  // namespace lisa::cuda
