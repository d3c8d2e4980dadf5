#pragma once

#include <cstdint>

#include "lisa/cpu/processor.hpp"
#include "lisa/cpu/relative_attention_arguments.hpp"
#include "lisa/cpu/relative_attention_avx2.hpp"
#include "lisa/cpu/relative_attention_avx512.hpp"

namespace lisa::cpu {

/// The fastest kernel that this processor can run; nullptr for none.
template <class Element, std::int64_t HeadDim>
[[nodiscard]] RelativeAttentionKernel<Element> find_relative_attention() {
#if defined(__x86_64__)
  if constexpr (AttentionHeadDim<HeadDim>) {
    if (has_avx512_bf16()) return relative_attention_avx512<Element, HeadDim>;
    if (has_avx2()) return relative_attention_avx2<Element, HeadDim>;
  }
#endif
  return nullptr;
}

}  // namespace lisa::cpu
