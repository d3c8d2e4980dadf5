#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"

namespace lisa {

/// Where the image goes in a prompt.
inline constexpr std::string_view image_placeholder = "<image>";
/// Stands for the image in a sequence of token ids (LISA utils/utils.py, IMAGE_TOKEN_INDEX).
inline constexpr std::int64_t image_token_id = -200;

/// Number of "<image>" in a text.
[[nodiscard]] constexpr std::size_t count_images(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(image_placeholder); at != std::string_view::npos;
       at = text.find(image_placeholder, at + image_placeholder.size()))
    ++count;
  return count;
}

/// @throws InputError unless the prompt holds exactly one "<image>": the model takes one image per conversation
inline void require_one_image(std::string_view prompt) {
  const std::size_t images = count_images(prompt);
  if (images != 1) throw InputError("prompt", found_expected(std::to_string(images) + " \"<image>\"", "exactly 1"));
}

}  // namespace lisa
