// Structs that are no specification: the compiler names the concept and what is missing.
#include "lisa/model/lisa_model.hpp"

struct OnlyAName {
  static constexpr std::string_view name = "only-a-name";
};
// expect: constraints not satisfied
// expect: S::llm
// expect: S::lora
// expect: S::vision
// expect: S::sam
// expect: S::seg
// expect: S::visual_projector
template class lisa::Lisa<OnlyAName>;
