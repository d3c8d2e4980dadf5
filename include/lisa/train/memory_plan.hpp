#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/model/part.hpp"
#include "lisa/train/state_owners.hpp"
#include "lisa/train/trainable_parts.hpp"

namespace lisa {

/// How a run is set up, as far as its memory depends on it. All numbers are those of one process.
struct MemoryPlanOptions {
  dim batch = 2;          ///< images of a micro-batch
  dim dialogues = 3;      ///< per image, each with one mask; they share the image's rows
  dim positions = 512;    ///< longest dialogue, the image's positions included
  dim labels = 64;        ///< labelled tokens of a dialogue
  dim mask_pixels = 0;    ///< of an image at its own size; 0: as many as the image encoder's padded square
  dim element_bytes = 2;  ///< of weights, their gradients and activations: 2 for bf16, 4 for fp32
  int processes = 1;
  bool gradient_checkpointing = true;  ///< of the language model's blocks and the mask decoder
  bool sharded_states = false;         ///< optimiser states spread over the processes
  dim cache_workers = 0;  ///< threads that fill a cache of frozen parts' features, an image each; 0: no cache
};

/// What one part of a run holds in the memory of one process, in bytes.
struct MemoryPlanRow {
  std::string_view name;
  dim parameters = 0;
  dim trained = 0;         ///< of these
  double weights = 0;      ///< in the dtype of the run
  double gradients = 0;    ///< in that dtype, their fp32 sums and, between processes, the exchange's buffers
  double states = 0;       ///< fp32 master copies (when weights are not fp32) and the two moments
  double activations = 0;  ///< kept for the backward pass, and the most that is in use at once

  [[nodiscard]] double total() const { return weights + gradients + states + activations; }
};

/// Memory of a training run. Weights, gradients and states are exact up to the allocator; activations are estimated
/// from the tensors that each part keeps. The memory of libtorch and of a GPU's context is not part of it. Parts whose
/// output comes from a cache count too: a run keeps them for validation and for images that the cache lacks.
struct MemoryPlan {
  std::vector<MemoryPlanRow> rows;

  [[nodiscard]] MemoryPlanRow sum() const {
    MemoryPlanRow sum{.name = "total"};
    for (const MemoryPlanRow& row : rows) {
      sum.parameters += row.parameters;
      sum.trained += row.trained;
      sum.weights += row.weights;
      sum.gradients += row.gradients;
      sum.states += row.states;
      sum.activations += row.activations;
    }
    return sum;
  }
  [[nodiscard]] double total() const { return sum().total(); }
};

namespace detail {

/// Trained tensors of one part, by their elements, as far as their sizes matter for spreading states.
struct TrainedSizes {
  std::vector<std::int64_t> elements;

  void add(dim size, dim count = 1) {
    if (size > 0) elements.insert(elements.end(), static_cast<std::size_t>(count), size);
  }
  /// What is left of `total` after the tensors so far.
  void add_rest(dim total) {
    for (const std::int64_t size : elements) total -= size;
    add(total);
  }
  [[nodiscard]] dim sum() const {
    dim total = 0;
    for (const std::int64_t size : elements) total += size;
    return total;
  }
};

[[nodiscard]] inline TrainedSizes trained_llm(const SpecConfigs& spec, const TrainableParts& parts) {
  const LlamaConfig& c = spec.llm;
  TrainedSizes sizes;
  const dim table = c.vocab * c.hidden;
  if (parts.llm) {
    sizes.add(table, 2);
    sizes.add(c.hidden * c.hidden, 2 * c.layers);
    sizes.add(c.hidden * kv_dim(c), 2 * c.layers);
    sizes.add(c.hidden * c.mlp, 3 * c.layers);
    sizes.add_rest(parameters(c));
  } else {
    sizes.add(table, dim{parts.lm_head} + dim{parts.embed_tokens});
  }
  if (parts.lora && spec.lora.rank > 0) sizes.add(parameters(c, spec.lora) / c.layers, c.layers);
  return sizes;
}

[[nodiscard]] inline TrainedSizes trained_image_encoder(const SamConfig& c) {
  TrainedSizes sizes;
  sizes.add(c.hidden * c.hidden, 4 * c.layers);
  sizes.add(c.hidden * c.mlp, 2 * c.layers);
  sizes.add_rest(image_encoder_parameters(c));
  return sizes;
}

[[nodiscard]] inline TrainedSizes trained_vision_tower(const ClipConfig& c) {
  TrainedSizes sizes;
  sizes.add(c.hidden * c.hidden, 4 * c.layers);
  sizes.add(c.hidden * c.mlp, 2 * c.layers);
  sizes.add_rest(parameters(c));
  return sizes;
}

/// Elements that a transformer block keeps for its backward pass, by the tensors that LlamaBlock and the encoders'
/// blocks multiply: per row the norms' inputs and outputs, queries, keys, values and the MLP's inner rows; and the
/// attention's probabilities.
[[nodiscard]] constexpr double block_elements(dim rows, dim hidden, dim kv, dim inner, dim inner_tensors, dim heads,
                                              dim keys, bool trained) {
  const dim of_weights = trained ? 3 * hidden + inner : 0;  // inputs of the linear maps, for their own gradients
  return static_cast<double>(rows) *
         static_cast<double>(10 * hidden + 2 * kv + inner_tensors * inner + of_weights + heads * keys);
}

/// Rows of the language model's padded batch, and of one item of it.
[[nodiscard]] inline dim rows_per_image(const SpecConfigs& spec, const MemoryPlanOptions& o) {
  const dim branch = std::max<dim>(o.positions - visual_tokens(spec.vision), 0);
  return o.dialogues == 1 ? o.positions : visual_tokens(spec.vision) + o.dialogues * branch;
}

[[nodiscard]] inline double llm_activations(const SpecConfigs& spec, const TrainableParts& parts,
                                            const MemoryPlanOptions& o) {
  const LlamaConfig& c = spec.llm;
  const dim keys = rows_per_image(spec, o), rows = o.batch * keys;
  const double block = block_elements(rows, c.hidden, kv_dim(c), c.mlp, 3, c.heads, keys, parts.llm);
  const double boundary = static_cast<double>(rows * c.hidden);
  const double layers = static_cast<double>(c.layers);
  // Checkpointed, a block's results exist while its own backward pass runs, with their gradients.
  const double kept = o.gradient_checkpointing ? layers * boundary + 2 * block : layers * block + block;
  const double bias = static_cast<double>(o.batch * keys * keys);
  // Logits in the run's dtype, their fp32 log-softmax and its gradient.
  const double logits =
      static_cast<double>(o.batch * o.dialogues * o.labels * c.vocab) * (2 * static_cast<double>(o.element_bytes) + 8);
  return (kept + bias + 3 * boundary) * static_cast<double>(o.element_bytes) + logits;
}

/// Images that pass an encoder at once. A cache spares a frozen one the images that it has seen, not those it sees
/// first.
[[nodiscard]] constexpr dim images_at_once(bool trained, const MemoryPlanOptions& o) {
  return trained || o.cache_workers == 0 ? o.batch : o.cache_workers;
}

[[nodiscard]] inline double vision_tower_activations(const SpecConfigs& spec, const TrainableParts& parts,
                                                     const MemoryPlanOptions& o) {
  const ClipConfig& c = spec.vision;
  const dim keys = grid(c) * grid(c) + 1;
  const dim rows = images_at_once(parts.vision_tower, o) * keys;
  const double block = block_elements(rows, c.hidden, c.hidden, c.mlp, 2, c.heads, keys, parts.vision_tower);
  // Frozen, it keeps nothing, and uses about one block's tensors at once.
  const double kept = parts.vision_tower ? static_cast<double>(blocks_run(c) + 1) * block : block;
  return kept * static_cast<double>(o.element_bytes);
}

[[nodiscard]] inline double image_encoder_activations(const SpecConfigs& spec, const TrainableParts& parts,
                                                      const MemoryPlanOptions& o) {
  const SamConfig& c = spec.sam;
  const dim rows = images_at_once(parts.image_encoder, o) * grid(c) * grid(c);
  double kept = 0, largest = 0;
  for (dim layer = 0; layer < c.layers; ++layer) {
    const dim side = attention_side(c, layer);
    // Without gradients the attention works in tiles and keeps no probabilities.
    const dim keys = parts.image_encoder ? side * side : 0;
    const double block = block_elements(rows, c.hidden, c.hidden, c.mlp, 2, c.heads, keys, parts.image_encoder);
    kept += block;
    largest = std::max(largest, block);
  }
  return (parts.image_encoder ? kept + largest : largest) * static_cast<double>(o.element_bytes);
}

/// Decoder of one mask: image tokens pass each two-way block's attentions and norms; then the upscaled maps.
[[nodiscard]] inline double mask_decoder_activations(const SpecConfigs& spec, const MemoryPlanOptions& o) {
  const SamConfig& c = spec.sam;
  const dim tokens = grid(c) * grid(c), d = c.prompt_dim;
  const double blocks =
      static_cast<double>((c.decoder_layers + 1) * tokens * (8 * d + 2 * c.decoder_heads * (2 + mask_tokens(c))));
  const double maps = static_cast<double>(4 * tokens * (d / 4) * 4 + 16 * tokens * (d / 8) * 3);
  return static_cast<double>(o.batch * o.dialogues) * (blocks + maps) * static_cast<double>(o.element_bytes);
}

/// Masks at the images' own size, fp32: upsampled twice, logits, target, and each loss's terms with their gradients.
[[nodiscard]] inline double mask_loss_activations(const SpecConfigs& spec, const MemoryPlanOptions& o) {
  const dim pixels = o.mask_pixels > 0 ? o.mask_pixels : spec.sam.image * spec.sam.image;
  return static_cast<double>(o.batch * o.dialogues * pixels) * 8 * 4;
}

}  // namespace detail

/// Plans the memory of one process. Throws InputError for numbers below 1 and positions beyond the model's context.
[[nodiscard]] inline MemoryPlan plan_memory(const SpecConfigs& spec, const TrainableParts& parts,
                                            const MemoryPlanOptions& options) {
  Defects defects;
  for (const auto& [name, value] : {std::pair{"batch", options.batch}, std::pair{"dialogues", options.dialogues},
                                    std::pair{"positions", options.positions}, std::pair{"labels", options.labels},
                                    std::pair{"processes", dim{options.processes}}})
    if (value < 1) defects.add(std::string(name) + ": " + found_expected(std::to_string(value), "at least 1"));
  if (options.cache_workers < 0)
    defects.add("cache workers: " + found_expected(std::to_string(options.cache_workers), "at least 0"));
  if (options.positions > spec.llm.context)
    defects.add("positions: " +
                found_expected(std::to_string(options.positions),
                               "at most " + std::to_string(spec.llm.context) + ", the model's context"));
  if (options.element_bytes != 2 && options.element_bytes != 4)
    defects.add("bytes of an element: " + found_expected(std::to_string(options.element_bytes), "2 or 4"));
  if (!defects.empty()) throw InputError("memory plan", defects.report("numbers cannot be used"));

  struct Content {
    MemoryPlanRow row;
    detail::TrainedSizes trained;
  };
  const dim hidden = spec.llm.hidden;
  std::vector<Content> contents;
  const auto add = [&](Part part, dim count, detail::TrainedSizes trained, double activations) {
    contents.push_back({.row = {.name = to_string(part), .parameters = count, .activations = activations},
                        .trained = std::move(trained)});
  };
  const auto all_of = [](bool trained, dim count) {
    detail::TrainedSizes sizes;
    if (trained) sizes.add(count);
    return sizes;
  };
  const dim adapters = parts.lora && spec.lora.rank > 0 ? parameters(spec.llm, spec.lora) : 0;
  add(Part::llm, parameters(spec.llm) + adapters, detail::trained_llm(spec, parts),
      detail::llm_activations(spec, parts, options));
  add(Part::vision_tower, parameters(spec.vision),
      parts.vision_tower ? detail::trained_vision_tower(spec.vision) : detail::TrainedSizes(),
      detail::vision_tower_activations(spec, parts, options));
  const dim projector = parameters(spec.vision.hidden, hidden, spec.visual_projector);
  add(Part::visual_projector, projector, all_of(parts.visual_projector, projector), 0);
  const dim seg = parameters(hidden, spec.sam.prompt_dim, spec.seg);
  add(Part::seg_projector, seg, all_of(parts.seg_projector, seg), 0);
  add(Part::image_encoder, image_encoder_parameters(spec.sam),
      parts.image_encoder ? detail::trained_image_encoder(spec.sam) : detail::TrainedSizes(),
      detail::image_encoder_activations(spec, parts, options));
  add(Part::mask_decoder, mask_decoder_parameters(spec.sam) + prompt_encoder_parameters(spec.sam),
      all_of(parts.mask_decoder, mask_decoder_parameters(spec.sam)),
      detail::mask_decoder_activations(spec, options) + detail::mask_loss_activations(spec, options));

  std::vector<std::int64_t> sizes;
  for (const Content& content : contents)
    sizes.insert(sizes.end(), content.trained.elements.begin(), content.trained.elements.end());
  const std::vector<int> owners = state_owners(sizes, options.sharded_states ? options.processes : 1);
  // The plan is that of the process with the largest share.
  std::vector<std::int64_t> load(static_cast<std::size_t>(options.processes), 0);
  for (std::size_t i = 0; i < sizes.size(); ++i) load[static_cast<std::size_t>(owners[i])] += sizes[i];
  const int fullest = static_cast<int>(std::max_element(load.begin(), load.end()) - load.begin());

  const double element = static_cast<double>(options.element_bytes);
  const double gradient_bytes = element + 4 + (options.processes > 1 ? 4 : 0);
  const double state_bytes = options.element_bytes == 4 ? 8 : 12;
  MemoryPlan plan;
  std::size_t next = 0;
  for (Content& content : contents) {
    MemoryPlanRow& row = content.row;
    row.trained = content.trained.sum();
    row.weights = element * static_cast<double>(row.parameters);
    row.gradients = gradient_bytes * static_cast<double>(row.trained);
    for (const std::int64_t size : content.trained.elements)
      if (owners[next++] == fullest) row.states += state_bytes * static_cast<double>(size);
    plan.rows.push_back(row);
  }
  return plan;
}

/// The plan as a table for people, a line for each part and the sum.
[[nodiscard]] inline std::string to_text(const MemoryPlan& plan) {
  const bool large = plan.total() >= 1e9;
  const auto column = [](const std::string& text, std::size_t width, bool left = false) {
    const std::string blanks(width - std::min(width, text.size()), ' ');
    return left ? text + blanks : blanks + text;
  };
  const auto amount = [&](double bytes) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.2f", bytes / (large ? 1e9 : 1e6));
    return column(buffer.data(), 12);
  };
  const auto millions = [&](dim count) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.2f M", static_cast<double>(count) / 1e6);
    return column(buffer.data(), 13);
  };
  std::string text = column("part", 18, true) + column("parameters", 13) + column("trained", 13);
  for (const char* const title : {"weights", "gradients", "states", "activations", "total"}) text += column(title, 12);
  text += large ? "   GB\n" : "   MB\n";
  std::vector<MemoryPlanRow> rows = plan.rows;
  rows.push_back(plan.sum());
  for (const MemoryPlanRow& row : rows)
    text += column(std::string(row.name), 18, true) + millions(row.parameters) + millions(row.trained) +
            amount(row.weights) + amount(row.gradients) + amount(row.states) + amount(row.activations) +
            amount(row.total()) + "\n";
  return text;
}

}  // namespace lisa
