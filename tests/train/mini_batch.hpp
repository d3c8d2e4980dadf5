#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/model/lisa_model.hpp"
#include "lisa/train/training_batch.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/train/mini_spec.hpp"

namespace lisa::test {

/// A model whose adapters have effect, as after some training.
template <ModelSpec S = MiniSpec>
Lisa<S> some_model(at::ScalarType dtype = at::kDouble) {
  Lisa<S> model;
  model.for_each_part([&](Part, auto& module, const std::string&) { fill_parameters(module, 5, dtype); });
  model.prepare();
  std::uint64_t seed = 70;
  model.llm.for_each_adapter([&](const std::string&, at::Tensor& value, const Shape& shape) {
    value = random_tensor(shape, seed++, dtype).mul(0.2);
  });
  return model;
}

/// The id that asks for a mask here.
inline constexpr std::int64_t seg = 29;

/// ids 1, 2, the image, `question`, then `answer`, whose ids are labelled.
inline DialogueTokens dialogue(const std::vector<std::int64_t>& question, const std::vector<std::int64_t>& answer) {
  DialogueTokens tokens{.ids = {1, 2, image_token_id}, .labels = {}, .segs = {}};
  tokens.ids.insert(tokens.ids.end(), question.begin(), question.end());
  tokens.labels.assign(tokens.ids.size(), ignored_label);
  tokens.ids.insert(tokens.ids.end(), answer.begin(), answer.end());
  tokens.labels.insert(tokens.labels.end(), answer.begin(), answer.end());
  for (std::size_t i = 0; i < tokens.ids.size(); ++i)
    if (tokens.ids[i] == seg) tokens.segs.push_back(i);
  return tokens;
}

inline TrainingImage some_image(std::uint64_t seed, std::vector<DialogueTokens> dialogues,
                                ImageExtent original = {11, 7}) {
  std::int64_t masks = 0;
  for (const DialogueTokens& tokens : dialogues) masks += static_cast<std::int64_t>(tokens.segs.size());
  return {.id = "image " + std::to_string(seed),
          .pixel_values = random_tensor({3, 8, 8}, seed),
          .sam_image = random_tensor({3, 20, 20}, seed + 1),
          .resized = {20, 13},
          .original = original,
          .dialogues = std::move(dialogues),
          .masks = random_tensor({masks, original.height, original.width}, seed + 2).gt(0.5).to(at::kByte)};
}

/// Two images of different sizes; the second has a dialogue without masks and one with two, one of them in its
/// question.
inline TrainingBatch some_batch() {
  return {some_image(1, {dialogue({5, 6}, {7, seg, 3}), dialogue({5, 8, 9, 4}, {seg, 3})}),
          some_image(2, {dialogue({5, 6, 6}, {7, 8, 3}), dialogue({seg, 9}, {4, 4, seg, 3})}, {6, 9}),
          some_image(3, {dialogue({11}, {12, 13})}, {5, 5})};
}

}  // namespace lisa::test
