"""Defects of RMS normalisation, and of what moves 16-bit elements for it and others."""

from mutants.mutant import Mutant, Tested

NORM, VECTOR = "rms_norm.cuh", "element_vector.cuh"

TESTED = {
    NORM: Tested("rms_norm_kernels", "rms_norm*", "rms_norm_test"),
    VECTOR: Tested("rms_norm_kernels", "rms_norm*", "rms_norm_test"),
}

MUTANTS = [
    Mutant("norm_barrier_removed", NORM, "  Dev::barrier();\n", ""),
    Mutant("norm_one_word_too_little_shared", NORM, "threads / 32 * static_cast<int>(sizeof(float))}",
           "(threads / 32 - 1) * static_cast<int>(sizeof(float))}", host=True),
    Mutant("norm_every_lane_writes_the_warps_sum", NORM, "if (Dev::thread_index() % 32 == 0) warp_sums", "warp_sums"),
    Mutant("norm_last_warp_left_out", NORM, "warp < warps; ++warp", "warp < warps - 1; ++warp"),
    Mutant("norm_sum_not_rounded", NORM, "values[k] = rounded_to<Dev, Element>(values[k] + added[k])",
           "values[k] = values[k] + added[k]"),
    Mutant("norm_value_not_rounded", NORM, "rounded_to<Dev, Element>(values[k] * scale) * weights[k]",
           "values[k] * scale * weights[k]"),
    Mutant("norm_weight_before_rounding", NORM, "rounded_to<Dev, Element>(values[k] * scale) * weights[k]",
           "rounded_to<Dev, Element>(values[k] * weights[k]) * scale"),
    Mutant("norm_without_eps", NORM, "sqrtf(mean + a.eps)", "sqrtf(mean)"),
    Mutant("norm_eps_behind_the_root", NORM, "1.0F / sqrtf(mean + a.eps)", "1.0F / (sqrtf(mean) + a.eps)"),
    Mutant("norm_of_x_alone", NORM, "(a.added == nullptr ? a.x : a.sum) + row", "a.x + row"),
    Mutant("norm_mean_of_one_less", NORM, "static_cast<float>(a.width);", "static_cast<float>(a.width - 1);"),
    Mutant("norm_rows_overlap", NORM, "static_cast<std::int64_t>(Dev::block_index().x) * a.width",
           "static_cast<std::int64_t>(Dev::block_index().x) * (a.width - 1)"),
    Mutant("norm_step_of_another_block", NORM, "step = threads * chunk", "step = threads"),
    Mutant("norm_alignment_of_the_sum_forgotten", NORM,
           "a.added == nullptr || rows_aligned(a.sum, a.width) ? vector_elements : 1", "vector_elements", host=True),
    Mutant("norm_fewer_threads", NORM, "32 * (warps < 16 ? warps : 16)", "32 * (warps < 8 ? warps : 8)",
           "a thread takes more of the row, which is slower and the same", host=True),
    Mutant("vector_halves_swapped", VECTOR, ">> (i % 2 * 16)", ">> ((1 - i % 2) * 16)"),
    Mutant("vector_stored_twice", VECTOR, "pack<Element>(values[2 * i], values[2 * i + 1])",
           "pack<Element>(values[2 * i], values[2 * i])"),
    Mutant("vector_warp_sum_one_step_short", VECTOR, "distance = 16; distance > 0", "distance = 8; distance > 0"),
    Mutant("vector_stride_unchecked", VECTOR,
           "stride % static_cast<std::int64_t>(sizeof(Vector16) / sizeof(Element)) == 0", "stride >= 0", host=True),
]
