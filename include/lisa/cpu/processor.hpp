#pragma once

namespace lisa::cpu {

#if defined(__x86_64__)

/// Whether this processor has AVX2 with fused multiply-add.
[[nodiscard]] inline bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

/// Whether this processor has AVX-512 with its extensions BW, VL and DQ.
[[nodiscard]] inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/// Whether this processor has AVX-512 with products of bfloat16 pairs.
[[nodiscard]] inline bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

/// Whether this processor has tiles for matrices of bfloat16 pairs.
[[nodiscard]] inline bool has_amx_bf16() { return __builtin_cpu_supports("amx-bf16"); }

/// Whether this processor has AVX-512 with sums of products of bytes.
[[nodiscard]] inline bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

#endif

}  // namespace lisa::cpu
