#pragma once

#include <concepts>
#include <string_view>
#include <type_traits>

#include "lisa/config/clip.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/config/sam.hpp"

namespace lisa {

/// Takes the vector of a `[SEG]` from the hidden state whose logits predict it (LISA; LISA issue 71).
struct PredictingHiddenState {
  /// Distance from the `[SEG]` position to the position read.
  static constexpr dim offset = -1;
};

/// Takes the vector from the `[SEG]` position itself (Sa2VA, its sa2va.py).
struct OwnHiddenState {
  static constexpr dim offset = 0;
};

namespace detail {
template <class Member, class Config>
concept ConfigMember = std::same_as<std::remove_cvref_t<Member>, Config>;
}  // namespace detail

/// A model specification: an empty struct with the configurations as `static constexpr` members. Module slots are
/// alias templates over the final specification (see `Lisa7B`), so a derived specification that overrides a number
/// re-derives every width.
template <class S>
concept ModelSpec = std::is_empty_v<S> && requires {
  { S::name } -> std::convertible_to<std::string_view>;
  requires detail::ConfigMember<decltype(S::llm), LlamaConfig>;
  requires detail::ConfigMember<decltype(S::lora), LoraConfig>;
  requires detail::ConfigMember<decltype(S::vision), ClipConfig>;
  requires detail::ConfigMember<decltype(S::sam), SamConfig>;
  requires detail::ConfigMember<decltype(S::seg), MlpConfig>;
  requires detail::ConfigMember<decltype(S::visual_projector), MlpConfig>;
};

/// The numbers of a specification as a value, for code that meets specifications at run time.
struct SpecConfigs {
  std::string_view name;
  LlamaConfig llm;
  LoraConfig lora;
  ClipConfig vision;
  SamConfig sam;
  MlpConfig seg;
  MlpConfig visual_projector;
  bool operator==(const SpecConfigs&) const = default;
};

template <ModelSpec S>
[[nodiscard]] constexpr SpecConfigs spec_configs() {
  return {S::name, S::llm, S::lora, S::vision, S::sam, S::seg, S::visual_projector};
}

}  // namespace lisa
