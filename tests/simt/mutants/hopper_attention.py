"""Defects of the attention kernel for sm_90a."""

from mutants.mutant import Mutant, Tested

KERNEL, TYPES = "global_attention_sm90a.cuh", "hopper_types.hpp"

_tested = Tested("hopper_attention_kernels", "global_attention_sm90a*", "hopper_attention_test")
TESTED = {KERNEL: _tested, TYPES: _tested}

MUTANTS = [
    # Barriers and phases
    Mutant("sm90a_barriers_not_published", KERNEL, "  Dev::barrier();  // the barriers are there for all\n", ""),
    Mutant("sm90a_barriers_not_fenced", KERNEL, "    Dev::fence_async_proxy();\n", ""),
    Mutant("sm90a_tables_not_waited_for", KERNEL, "  Dev::wait_phase(once, 0);\n", ""),
    Mutant("sm90a_keys_not_waited_for", KERNEL, "    Dev::wait_phase(full + key_row % stages, key_row / stages % 2);\n", ""),
    Mutant("sm90a_phase_of_the_first_use", KERNEL, "key_row / stages % 2);", "0);"),
    Mutant("sm90a_free_stage_not_waited_for", KERNEL,
           "    if (use > 0) Dev::wait_phase(empty + stage, (use - 1) % 2);\n", ""),
    Mutant("sm90a_free_stage_of_the_other_phase", KERNEL, "(use - 1) % 2", "use % 2"),
    Mutant("sm90a_stage_freed_before_its_products", KERNEL,
           "    Dev::template wait_products<0>(sums, weights);\n"
           "    if (lane == 0) Dev::arrive(empty + (key_row - 1) % stages);",
           "    if (lane == 0) Dev::arrive(empty + (key_row - 1) % stages);\n"
           "    Dev::template wait_products<0>(sums, weights);"),
    Mutant("sm90a_other_stage_freed", KERNEL, "Dev::arrive(empty + (key_row - 1) % stages)",
           "Dev::arrive(empty + key_row % stages)"),
    Mutant("sm90a_stage_never_freed", KERNEL, "if (lane == 0) Dev::arrive(empty + (key_row - 1) % stages);", ";"),
    Mutant("sm90a_all_lanes_free_a_stage", KERNEL, "if (lane == 0) Dev::arrive(empty +", "Dev::arrive(empty +"),
    Mutant("sm90a_arrivals_of_absent_queries", KERNEL, "4 * query_rows)", "4 * Shared::choice.query_rows)"),
    Mutant("sm90a_absent_queries_take_part", KERNEL, "  if (warpgroup >= query_rows) return;\n", ""),
    # Copies
    Mutant("sm90a_half_a_stage_announced", KERNEL, "Dev::arrive_expecting(full + stage, Shared::stage_bytes)",
           "Dev::arrive_expecting(full + stage, Tile::bytes)"),
    Mutant("sm90a_last_panel_not_copied", KERNEL, "panel < Tile::panels; ++panel)", "panel < Tile::panels - 1; ++panel)"),
    Mutant("sm90a_same_panel_copied", KERNEL, "TileCoordinates{{panel * Tile::columns, row,", "TileCoordinates{{0, row,"),
    Mutant("sm90a_keys_for_values", KERNEL, "load(at + Tile::bytes, arguments.v,", "load(at + Tile::bytes, arguments.k,"),
    Mutant("sm90a_queries_of_the_first_row", KERNEL, "arguments.q, 0, first_row + i,", "arguments.q, 0, first_row,"),
    Mutant("sm90a_row_distances_off_by_one", KERNEL, "a.grid_height - Tile::rows, 0, 0, 0,",
           "a.grid_height - Tile::rows + 1, 0, 0, 0,"),
    Mutant("sm90a_column_distances_of_one_half", KERNEL, "arguments.rel_w, half * Tile::rows,", "arguments.rel_w, 0 * half,"),
    Mutant("sm90a_copies_without_swizzle", KERNEL,
           "const auto swizzle = static_cast<Swizzle>(choice.panel_columns * element_bytes);",
           "const auto swizzle = Swizzle::none;", host=True),
    Mutant("sm90a_grid_a_token_too_wide", KERNEL, "{a.head_dim, a.grid_width, a.grid_height,",
           "{a.head_dim, a.grid_width + 1, a.grid_height,", host=True),
    Mutant("sm90a_table_a_row_too_long", KERNEL, "{a.head_dim, 2 * side - 1, 1,", "{a.head_dim, 2 * side, 1,", host=True),
    # Products
    Mutant("sm90a_panel_of_the_next_depth", KERNEL, "panel = depth * 16 / columns,",
           "panel = (depth + 1) * 16 / columns % panels,"),
    Mutant("sm90a_depth_not_advanced", KERNEL, "bytes_inside = depth * 16 % columns * 2;", "bytes_inside = 0;"),
    Mutant("sm90a_rows_half_as_far", KERNEL, "0, 8 * row_bytes, swizzle)", "0, 4 * row_bytes, swizzle)"),
    Mutant("sm90a_value_panels_too_close", KERNEL, "panel_bytes, 8 * row_bytes, swizzle);", "row_bytes, 8 * row_bytes, swizzle);"),
    Mutant("sm90a_values_not_turned", KERNEL, "multiply_registers<Element, Major::own>", "multiply_registers<Element, Major::k>"),
    Mutant("sm90a_last_depth_of_values_dropped", KERNEL,
           "  for (int depth = 0; depth < 4; ++depth)\n    Dev::template multiply_registers",
           "  for (int depth = 0; depth < 3; ++depth)\n    Dev::template multiply_registers"),
    Mutant("sm90a_fence_of_scores_only", KERNEL, "Dev::fence_products(scores, queries, sums, weights);",
           "Dev::fence_products(scores, queries);"),
    Mutant("sm90a_queries_never_fenced", KERNEL,
           "  Dev::fence_products(scores, queries);\n", "  Dev::fence_products(scores);\n"),
    Mutant("sm90a_queries_not_swizzled", KERNEL, "(offset ^ (offset / 128 % units * 16))", "offset"),
    Mutant("sm90a_queries_of_the_other_half", KERNEL, "depth * 16 + lane / 16 * 8));", "depth * 16 + (1 - lane / 16) * 8));"),
    Mutant("sm90a_scores_taken_too_early", KERNEL, "Dev::template wait_products<1>(scores);",
           "Dev::template wait_products<2>(scores);"),
    Mutant("sm90a_scores_wait_for_values", KERNEL, "Dev::template wait_products<1>(scores);",
           "Dev::template wait_products<0>(scores);", "it waits longer than it must"),
    Mutant("sm90a_weights_packed_while_in_use", KERNEL,
           "    add_weights(key_row);\n    Dev::template wait_products<0>(sums, weights);",
           "    add_weights(key_row);\n    pack_weights<Dev, Element>(weights, scores);\n"
           "    Dev::template wait_products<0>(sums, weights);"),
    Mutant("sm90a_sums_not_handed_back", KERNEL,
           "    Dev::template wait_products<0>(sums, weights);\n    if (lane == 0)",
           "    Dev::template wait_products<0>(weights);\n    if (lane == 0)"),
    Mutant("sm90a_values_of_the_next_row", KERNEL, "values(key_row - 1));", "values(key_row));"),
    Mutant("sm90a_last_values_of_the_first_row", KERNEL, "values(a.grid_height - 1));", "values(0));"),
    Mutant("sm90a_swizzle_named_wrongly", TYPES, "swizzle == Swizzle::bytes32 ? 3", "swizzle == Swizzle::bytes32 ? 2"),
    Mutant("sm90a_advanced_half_as_far", TYPES, "bytes >> 4);\n}\n\n}", "bytes >> 5);\n}\n\n}"),
    # Terms and softmax
    Mutant("sm90a_one_table_for_both_rows", KERNEL, "Shared::row_tables_at + warpgroup * Tile::bytes);",
           "Shared::row_tables_at);"),
    Mutant("sm90a_row_terms_mirrored", KERNEL, "Tile::rows - 1 - key_row]", "key_row]"),
    Mutant("sm90a_column_halves_swapped", KERNEL, "half * Tile::rows, scores, lane", "(1 - half) * Tile::rows, scores, lane"),
    Mutant("sm90a_products_unsynchronised", KERNEL, "  Dev::sync_warp();\n  read_skewed(", "  read_skewed("),
    Mutant("sm90a_row_terms_over_column_terms", KERNEL, "  Dev::sync_warp();  // all lanes have their column terms", "  //"),
    Mutant("sm90a_row_terms_unsynchronised", KERNEL, "  Dev::sync_warp();\n\n  // From registers", "\n  // From registers"),
    Mutant("sm90a_results_over_row_terms", KERNEL, "  Dev::sync_warp();  // all lanes have read their terms", "  //"),
    Mutant("sm90a_rescaled_by_the_other_half", KERNEL, "shrink[i / 2];", "shrink[i % 2];"),
    Mutant("sm90a_not_rescaled", KERNEL, "sums[tile][i] *= shrink[i / 2];", ";"),
    Mutant("sm90a_weights_of_the_other_tile", KERNEL, "scores[2 * depth + i / 2]", "scores[2 * depth + i % 2]"),
    Mutant("sm90a_weights_of_the_other_half", KERNEL, "tile[i % 2 * 2], tile[i % 2 * 2 + 1]", "tile[i / 2 * 2], tile[i / 2 * 2 + 1]"),
    # Launch
    Mutant("sm90a_last_row_without_a_block", KERNEL, "ceil_div(a.grid_height, choice.query_rows)", "a.grid_height / choice.query_rows", host=True),
    Mutant("sm90a_too_little_shared_memory", KERNEL,
           "bytes = barriers_at + barriers * static_cast<int>(sizeof(TransactionBarrier))", "bytes = barriers_at", host=True),
]
