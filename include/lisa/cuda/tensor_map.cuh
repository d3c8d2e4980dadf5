#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "lisa/cuda/element.hpp"
#include "lisa/cuda/hopper_types.hpp"

namespace lisa::cuda {

/// A description of tiles as the hardware of sm_90 and later reads it. The driver encodes it, and is found through the
/// runtime, so that nothing links against it.
/// @tparam Element Bf16 or Fp16
template <class Element>
[[nodiscard]] cudaError_t encode_tensor_map(const TensorTiles& tiles, CUtensorMap& map) {
  constexpr unsigned since = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, since, cudaEnableDefault, &found);
  if (status != cudaSuccess) return status;
  if (found != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;

  constexpr int rank = 5;
  cuuint64_t extents[rank], strides[rank - 1];
  cuuint32_t box[rank], steps[rank];
  for (int d = 0; d < rank; ++d) {
    extents[d] = static_cast<cuuint64_t>(tiles.extents[d]);
    box[d] = static_cast<cuuint32_t>(tiles.box[d]);
    steps[d] = 1;
    if (d > 0) strides[d - 1] = static_cast<cuuint64_t>(tiles.strides[d - 1]);
  }
  const CUtensorMapSwizzle swizzle = tiles.swizzle == Swizzle::bytes128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : tiles.swizzle == Swizzle::bytes64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                     : tiles.swizzle == Swizzle::bytes32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                                         : CU_TENSOR_MAP_SWIZZLE_NONE;
  constexpr auto type =
      std::is_same_v<Element, Bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const auto encode = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  const CUresult result = encode(&map, type, rank, const_cast<void*>(tiles.begin), extents, strides, box, steps,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace lisa::cuda
