// torch-free
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>

#include "lisa/config/clip.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/config/sam.hpp"

#include <doctest/doctest.h>

namespace {

// Changes one field's value, whatever its type.
template <class T>
void alter(T& value) {
  if constexpr (std::is_same_v<T, lisa::BlockSet>) {
    value.bits ^= 1;
  } else if constexpr (std::is_enum_v<T>) {
    value = static_cast<T>(1 - static_cast<int>(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    value = !value;
  } else {
    value += 1;
  }
}

}  // namespace

TEST_CASE_TEMPLATE("the visitor names each field once, and each is a part of the value", Config, lisa::LlamaConfig,
                   lisa::LoraConfig, lisa::ClipConfig, lisa::SamConfig, lisa::MlpConfig) {
  std::set<std::string> names;
  std::size_t visits = 0;
  Config config{};
  lisa::fields(config, [&](std::string_view name, auto& value) {
    ++visits;
    names.emplace(name);
    const Config before = config;
    alter(value);
    CHECK_MESSAGE(!(config == before), std::string(name));
  });
  CHECK(names.size() == visits);
}

TEST_CASE("the visitor reaches the whole value") {
  // Every byte-sized or larger member is visited when the sizes of the visited members fill the struct up to padding.
  const auto visited_bytes = [](auto config) {
    std::size_t bytes = 0;
    lisa::fields(config, [&](std::string_view, const auto& value) { bytes += sizeof(value); });
    return (bytes + alignof(decltype(config)) - 1) / alignof(decltype(config)) * alignof(decltype(config));
  };
  CHECK(visited_bytes(lisa::LlamaConfig{}) == sizeof(lisa::LlamaConfig));
  CHECK(visited_bytes(lisa::LoraConfig{}) == sizeof(lisa::LoraConfig));
  CHECK(visited_bytes(lisa::ClipConfig{}) == sizeof(lisa::ClipConfig));
  CHECK(visited_bytes(lisa::SamConfig{}) == sizeof(lisa::SamConfig));
  CHECK(visited_bytes(lisa::MlpConfig{}) == sizeof(lisa::MlpConfig));
}
