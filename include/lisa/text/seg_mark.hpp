#pragma once

#include <cstddef>
#include <string_view>

namespace lisa {

/// Where a mask belongs in a question or an answer (LISA utils/utils.py, ANSWER_LIST).
inline constexpr std::string_view seg_mark = "[SEG]";

/// Number of "[SEG]" in a text.
[[nodiscard]] constexpr std::size_t count_segs(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(seg_mark); at != std::string_view::npos;
       at = text.find(seg_mark, at + seg_mark.size()))
    ++count;
  return count;
}

}  // namespace lisa
