"""Defects of the reference kernels of attention."""

from mutants.mutant import Mutant, Tested

REFERENCE = "reference_attention.cuh"

TESTED = {REFERENCE: Tested("reference_attention_kernels", "reference_*", "reference_attention_test")}

MUTANTS = [
    Mutant("reference_columns_behind_the_row", REFERENCE, "column < head_dim_) columns.values[i]", "true) columns.values[i]"),
    Mutant("reference_last_columns_ignored", REFERENCE, "most_reference_head_dim / 32;", "most_reference_head_dim / 64;"),
    Mutant("reference_half_a_sum", REFERENCE, "distance = 16; distance > 0", "distance = 8; distance > 0"),
    Mutant("reference_maximum_forgotten", REFERENCE, "    maximum_ = now;\n", "    maximum_ = score;\n"),
    Mutant("reference_sums_not_rescaled", REFERENCE, "sums_.values[i] * shrink + weight * row", "sums_.values[i] + weight * row"),
    Mutant("reference_weights_not_rescaled", REFERENCE, "weight_sum_ * shrink + weight;", "weight_sum_ + weight;"),
    Mutant("reference_no_maximum", REFERENCE, "const float now = fmaxf(maximum_, score);",
           "const float now = maximum_ > -1.0F ? maximum_ : 0.0F;"),
    Mutant("reference_columns_of_out_behind_the_row", REFERENCE, "column < head_dim_) out[column]", "true) out[column]"),
    Mutant("reference_sums_not_divided", REFERENCE, "sums_.values[i] / weight_sum_;", "sums_.values[i];"),
    Mutant("reference_log_sum_in_units_of_two", REFERENCE, "log2f(weight_sum_)) * (1.0F / log2_of_e)", "log2f(weight_sum_))"),
    Mutant("reference_scores_in_units_of_e", REFERENCE, "(row_term + column_and_key) * log2_of_e", "(row_term + column_and_key)"),
    Mutant("reference_keys_unscaled", REFERENCE, ".plus(a.scale, query.load(key))", ".plus(1.0F, query.load(key))"),
    Mutant("reference_rows_term_of_the_other_direction", REFERENCE, "(y - key_y + side - 1)", "(key_y - y + side - 1)"),
    Mutant("reference_columns_term_of_the_other_direction", REFERENCE, "(x - key_x + side - 1)", "(key_x - x + side - 1)"),
    Mutant("reference_row_term_dropped", REFERENCE, "(row_term + column_and_key)", "(column_and_key)"),
    Mutant("reference_window_of_the_grid", REFERENCE, "top = y / side * side", "top = 0"),
    Mutant("reference_padding_is_no_key", REFERENCE, "      query.add((row_term", "      if (in_grid) query.add((row_term"),
    Mutant("reference_padding_of_the_first_head", REFERENCE,
           "padding = static_cast<std::int64_t>(block.y) * a.head_dim", "padding = 0"),
    Mutant("reference_padding_below_only", REFERENCE, "key_y < a.grid_height && key_x < a.grid_width", "key_y < a.grid_height"),
    Mutant("reference_tokens_behind_the_grid", REFERENCE, "  if (token >= a.grid_height * a.grid_width) return;", "  "),
    Mutant("reference_tokens_forgotten", REFERENCE, "ceil_div(a.grid_height * a.grid_width, reference_block_warps)",
           "a.grid_height * a.grid_width / reference_block_warps", host=True),
    Mutant("reference_heads_overlap", REFERENCE, "block.y * a.out_head_stride + token", "token"),
    Mutant("reference_queries_behind_the_sequence", REFERENCE, "  if (number >= rows.queries) return;", "  "),
    Mutant("reference_sees_a_later_key", REFERENCE, "rows.queries + number + 1;", "rows.queries + number + 2;"),
    Mutant("reference_does_not_see_itself", REFERENCE, "rows.queries + number + 1;", "rows.queries + number;"),
    Mutant("reference_first_sequences_keys", REFERENCE, "(rows.first_key + key) * a.key_stride", "key * a.key_stride"),
    Mutant("reference_each_head_its_own_keys", REFERENCE, "block.y / (a.heads / a.kv_heads) * a.key_head_stride",
           "block.y % a.kv_heads * a.key_head_stride"),
    Mutant("reference_log_sum_always", REFERENCE, "a.log_sum != nullptr && lane == 0", "lane == 0"),
    Mutant("reference_log_sum_by_all_lanes", REFERENCE, "a.log_sum != nullptr && lane == 0", "a.log_sum != nullptr"),
    Mutant("reference_queries_forgotten", REFERENCE, "ceil_div(a.most_queries, reference_block_warps)",
           "a.most_queries / reference_block_warps", host=True),
]
