"""Defects of image preprocessing."""

from mutants.mutant import Mutant, Tested

IMAGE = "image_preprocess.cuh"

TESTED = {IMAGE: Tested("image_kernels", "image_preprocess*", "image_preprocess_test")}

MUTANTS = [
    Mutant("image_rounds_down", IMAGE,
           "{1 << (precision_bits - 1), 1 << (precision_bits - 1), 1 << (precision_bits - 1)}", "{0, 0, 0}"),
    Mutant("image_blue_rounds_down", IMAGE, "1 << (precision_bits - 1), 1 << (precision_bits - 1)}",
           "1 << (precision_bits - 1), 0}"),
    Mutant("image_no_clamp_at_zero", IMAGE, "level < 0 ? 0 : level > 255", "level > 255"),
    Mutant("image_no_clamp_at_white", IMAGE, "level < 0 ? 0 : level > 255 ? 255 : level", "level < 0 ? 0 : level"),
    Mutant("image_one_bit_less", IMAGE, "of_channel[c] >> precision_bits", "of_channel[c] >> (precision_bits - 1)"),
    Mutant("image_columns_behind_the_last", IMAGE, "  if (x >= a.columns) return;\n", ""),
    Mutant("image_rows_below_the_last", IMAGE, "    if (top + r < a.rows) {", "    {"),
    Mutant("image_reads_below_the_last_row", IMAGE, "top + r < a.rows ? top + r : a.rows - 1", "top + r"),
    Mutant("image_columns_from_the_left_edge", IMAGE, "static_cast<std::int64_t>(a.taps.first[x]) * 3",
           "static_cast<std::int64_t>(x) * 3"),
    Mutant("image_same_weights_for_all", IMAGE, "a.taps.weights + static_cast<std::int64_t>(x) * a.taps.stride",
           "a.taps.weights"),
    Mutant("image_last_column_tap_dropped", IMAGE, "const int count = a.taps.count[x];",
           "const int count = a.taps.count[x] - 1;"),
    Mutant("image_all_column_taps", IMAGE, "const int count = a.taps.count[x];", "const int count = a.taps.stride;"),
    Mutant("image_all_row_taps", IMAGE, "const int count = a.taps.count[y];", "const int count = a.taps.stride;"),
    Mutant("image_rows_overlap", IMAGE, "Dev::block_index().y * resize_rows",
           "Dev::block_index().y * (resize_rows - 1)"),
    Mutant("image_grid_too_narrow", IMAGE, "{{ceil_div(a.columns, picture_threads), ceil_div(a.rows, resize_rows), 1}",
           "{{ceil_div(a.columns, picture_threads), a.rows / resize_rows, 1}", host=True),
    Mutant("image_channels_of_one_pixel_apart", IMAGE, "lines[r] + static_cast<std::int64_t>(i) * 3",
           "lines[r] + static_cast<std::int64_t>(i)"),
    Mutant("image_first_row_forgotten", IMAGE, "(a.taps.first[y] - a.first_row)", "a.taps.first[y]"),
    Mutant("image_planes_of_another_width", IMAGE, "++i, pixel += a.row_stride)", "++i, pixel += a.width * 3)"),
    Mutant("image_padding_normalised", IMAGE, "  float values[3] = {0.0F, 0.0F, 0.0F};",
           "  float values[3] = {a.levels[0], a.levels[256], a.levels[512]};"),
    Mutant("image_padding_below_forgotten", IMAGE, "if (x < a.width && y < a.height)", "if (x < a.width)"),
    Mutant("image_padding_right_forgotten", IMAGE, "if (x < a.width && y < a.height)", "if (y < a.height)"),
    Mutant("image_one_table_for_all_channels", IMAGE, "a.levels[c * 256 + level]", "a.levels[level]"),
    Mutant("image_bytes_kept_always", IMAGE, "if (a.resized != nullptr) a.resized", "a.resized"),
    Mutant("image_bytes_by_planes", IMAGE, "(static_cast<std::int64_t>(y) * a.width + x) * 3 + c]",
           "(static_cast<std::int64_t>(c) * a.height + y) * a.width + x]"),
    Mutant("image_planes_interleaved", IMAGE, "(static_cast<std::int64_t>(c) * a.side + y) * a.side + x]",
           "(static_cast<std::int64_t>(y) * a.side + x) * 3 + c]"),
    Mutant("image_planes_right_of_the_square", IMAGE, "  if (x >= a.side) return;\n", ""),
    Mutant("image_one_row_at_a_time", IMAGE, "resize_rows = 4", "resize_rows = 1",
           "each weight is read more often, which is slower and the same", host=True),
]
