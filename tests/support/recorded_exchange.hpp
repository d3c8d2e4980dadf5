#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lisa/data/sample.hpp"

namespace lisa::test {

/// Question and answer inside the text of a recorded conversation about an image, in LLaVA's first template.
inline Exchange recorded_exchange(const std::string& text) {
  constexpr std::string_view before = "<im_end>\n", between = " ASSISTANT: ";
  const std::size_t question = text.find(before) + before.size(), end = text.find(between);
  const std::size_t answer = end + between.size();
  return {text.substr(question, end - question), text.substr(answer, text.rfind("</s>") - answer)};
}

}  // namespace lisa::test
