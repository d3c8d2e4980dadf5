#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace lisa {

/// A tensor extent or a count. Signed and 64 bit, as in libtorch.
using dim = std::int64_t;

/// `T` is `Config` or `const Config`: lets one field visitor serve reading and writing.
template <class T, class Config>
concept SameConfig = std::same_as<std::remove_const_t<T>, Config>;

}  // namespace lisa
