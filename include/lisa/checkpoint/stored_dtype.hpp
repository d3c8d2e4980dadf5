#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <optional>
#include <string_view>

#include "lisa/checkpoint/stored_tensor.hpp"

namespace lisa {

namespace detail {

struct ScalarTypeOf {
  StoredDtype stored;
  c10::ScalarType scalar;
};

inline constexpr std::array<ScalarTypeOf, 10> scalar_types{{{StoredDtype::f64, c10::ScalarType::Double},
                                                            {StoredDtype::f32, c10::ScalarType::Float},
                                                            {StoredDtype::f16, c10::ScalarType::Half},
                                                            {StoredDtype::bf16, c10::ScalarType::BFloat16},
                                                            {StoredDtype::i64, c10::ScalarType::Long},
                                                            {StoredDtype::i32, c10::ScalarType::Int},
                                                            {StoredDtype::i16, c10::ScalarType::Short},
                                                            {StoredDtype::i8, c10::ScalarType::Char},
                                                            {StoredDtype::u8, c10::ScalarType::Byte},
                                                            {StoredDtype::boolean, c10::ScalarType::Bool}}};

}  // namespace detail

/// libtorch's element type for one of a file.
[[nodiscard]] constexpr c10::ScalarType scalar_type(StoredDtype dtype) {
  return detail::scalar_types[static_cast<std::size_t>(dtype)].scalar;
}

/// The reverse; nothing for element types that checkpoint files do not hold (complex, quantised, 8-bit floats).
[[nodiscard]] constexpr std::optional<StoredDtype> stored_dtype(c10::ScalarType type) {
  for (const auto& [stored, scalar] : detail::scalar_types)
    if (scalar == type) return stored;
  return std::nullopt;
}

/// A weight dtype as the torch_dtype of config.json names it.
[[nodiscard]] constexpr std::string_view torch_dtype_name(c10::ScalarType type) {
  return type == c10::ScalarType::BFloat16 ? "bfloat16" : type == c10::ScalarType::Half ? "float16" : "float32";
}

}  // namespace lisa
