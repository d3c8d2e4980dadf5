#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/model/part.hpp"

namespace lisa {

/// In which dtypes a model runs.
enum class Precision {
  stored,  ///< as the checkpoint's files hold each part; the vision tower follows the language model
  fp32,
  bf16,   ///< every part, as the original's `--precision bf16`
  fp16,   ///< every part; the neck of SAM's image encoder runs in fp32 (overflow)
  mixed,  ///< what the published files hold: language and vision parts bf16, SAM and text_hidden_fcs fp32
};

inline constexpr std::array<std::pair<Precision, std::string_view>, 5> precision_names{{{Precision::stored, "stored"},
                                                                                        {Precision::fp32, "fp32"},
                                                                                        {Precision::bf16, "bf16"},
                                                                                        {Precision::fp16, "fp16"},
                                                                                        {Precision::mixed, "mixed"}}};

[[nodiscard]] constexpr std::string_view to_string(Precision precision) {
  for (const auto& [value, name] : precision_names)
    if (value == precision) return name;
  return "";
}

/// The precision called `name`. @throws InputError naming the known ones
[[nodiscard]] inline Precision parse_precision(std::string_view name) {
  std::string known;
  for (const auto& [value, text] : precision_names) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw InputError("dtype", found_expected(quoted(name), "one of " + known));
}

/// The dtype in which a part runs. @param stored that of the part in its files  @param stored_llm that of the language
/// model, which the vision tower and its projector follow
[[nodiscard]] constexpr c10::ScalarType dtype_of(Part part, Precision precision, c10::ScalarType stored,
                                                 c10::ScalarType stored_llm) {
  switch (precision) {
    case Precision::fp32:
      return c10::kFloat;
    case Precision::bf16:
      return c10::kBFloat16;
    case Precision::fp16:
      return c10::kHalf;
    case Precision::mixed:
      return part == Part::seg_projector || part == Part::image_encoder || part == Part::mask_decoder ? c10::kFloat
                                                                                                      : c10::kBFloat16;
    case Precision::stored:
      break;
  }
  return part == Part::vision_tower || part == Part::visual_projector ? stored_llm : stored;
}

}  // namespace lisa
