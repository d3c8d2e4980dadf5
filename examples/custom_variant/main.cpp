// A variant with two modules of one's own, at sizes that run in a moment on random weights:
//
//   custom_variant TOKENIZER_FOLDER
//
// The folder holds tokenizer.model and added_tokens.json, with as many ids as `llm.vocab` below has rows.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>

#include <cstdint>
#include <iostream>
#include <lisa/lisa.hpp>
#include <map>
#include <string>
#include <string_view>

/// A [SEG] projector with a shortcut: y = S x + W2 gelu(W1 x).
template <lisa::dim In, lisa::dim Out, lisa::dim Hidden>
struct ResidualSegProjector {
  static constexpr lisa::dim in_features = In;
  static constexpr lisa::dim out_features = Out;

  lisa::Linear<In, Out, lisa::Bias::no> shortcut;
  lisa::Linear<In, Hidden> first;
  lisa::Linear<Hidden, Out> second;

  /// hidden [N, In] -> prompts [N, Out].
  at::Tensor forward(const at::Tensor& hidden) const {
    return shortcut.forward(hidden).add(second.forward(at::gelu(first.forward(hidden))));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    shortcut.for_each_parameter(lisa::scoped(prefix, "shortcut"), visit);
    first.for_each_parameter(lisa::scoped(prefix, "first"), visit);
    second.for_each_parameter(lisa::scoped(prefix, "second"), visit);
  }
};

/// A gated projector of vision features: y = D (silu(G x) * U x), the language model's own kind of layer.
template <lisa::dim In, lisa::dim Out>
struct GatedVisualProjector {
  static constexpr lisa::dim in_features = In;
  static constexpr lisa::dim out_features = Out;

  lisa::Linear<In, Out> gate, up;
  lisa::Linear<Out, Out> down;

  /// features [B, tokens, In] -> rows of the language model [B, tokens, Out].
  at::Tensor forward(const at::Tensor& features) const {
    return down.forward(at::silu(gate.forward(features)).mul(up.forward(features)));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    gate.for_each_parameter(lisa::scoped(prefix, "gate"), visit);
    up.for_each_parameter(lisa::scoped(prefix, "up"), visit);
    down.for_each_parameter(lisa::scoped(prefix, "down"), visit);
  }
};

struct TinyLisa : lisa::Lisa7B {
  static constexpr std::string_view name = "tiny-lisa";
  static constexpr lisa::LlamaConfig llm{
      .vocab = 704, .hidden = 64, .mlp = 160, .layers = 2, .heads = 4, .kv_heads = 2};
  static constexpr lisa::LoraConfig lora = lisa::no_lora;
  static constexpr lisa::ClipConfig vision{.image = 56, .hidden = 32, .mlp = 64, .layers = 3, .heads = 2};
  static constexpr lisa::SamConfig sam{.image = 128,
                                       .hidden = 32,
                                       .mlp = 64,
                                       .layers = 2,
                                       .heads = 2,
                                       .window = 4,
                                       .global_blocks = {1},
                                       .prompt_dim = 32,
                                       .decoder_heads = 4,
                                       .decoder_mlp = 64,
                                       .iou_head_hidden = 32};

  template <class S>
  using SegProjector = ResidualSegProjector<S::llm.hidden, S::sam.prompt_dim, 48>;
  template <class S>
  using VisualProjector = GatedVisualProjector<S::vision.hidden, S::llm.hidden>;
};

/// Gives every parameter random numbers in place of a checkpoint's, and counts them.
std::map<lisa::Part, std::int64_t> fill_random(lisa::Lisa<TinyLisa>& model) {
  const at::Generator random = at::detail::createCPUGenerator(1);
  std::map<lisa::Part, std::int64_t> counts;
  model.for_each_part([&](lisa::Part part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const lisa::Shape& shape) {
      value = at::empty(shape).normal_(0, 0.1, random);
      if (shape.size() == 1 && name.ends_with("weight")) value.add_(1);  // a norm's
      counts[part] += value.numel();
    });
  });
  return counts;
}

/// A picture of a bright disc on a dark ground.
lisa::Image disc(lisa::ImageSize size) {
  lisa::Image image = lisa::make_image(size);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const int dx = x - size.width / 2, dy = y - size.height / 2;
      const bool inside = dx * dx + dy * dy < size.height * size.height / 9;
      for (int c = 0; c < 3; ++c)
        image.row(y)[3 * x + c] = static_cast<std::uint8_t>(inside ? 250 - 60 * c : 30 + 20 * c);
    }
  }
  return image;
}

int main(int argc, char** argv) try {
  if (argc != 2) throw lisa::InputError("arguments", "expected TOKENIZER_FOLDER");
  lisa::LoadedModel<TinyLisa> loaded(lisa::load_tokenizer(argv[1]));
  loaded.tokenizer.check_embedding_rows(TinyLisa::llm.vocab);
  for (const auto& [part, count] : fill_random(loaded.model))
    std::cout << lisa::to_string(part) << ": " << count << " parameters\n";
  loaded.model.llm.prepare();
  loaded.model.mask_decoder.prepare(lisa::PositionalPrecision::weights);

  lisa::Predictor predictor(loaded);
  predictor.set_image(disc({90, 120}));
  lisa::AskOptions options;
  options.max_new_tokens = 8;
  options.segmentation = lisa::Segmentation::forced;  // random weights seldom choose [SEG] by themselves
  const lisa::Answer answer = predictor.ask("Where is the disc? Please output segmentation mask.", options);
  std::cout << answer.prompt_ids.size() << " prompt ids, " << loaded.model.visual_tokens << " visual tokens, "
            << answer.answer_ids.size() << " answer ids, " << answer.masks.size() << " masks\n";
  for (const lisa::AnswerMask& mask : answer.masks)
    std::cout << "mask of token " << mask.token_index << ": " << lisa::area(mask.bits) << " of "
              << mask.bits.width() * mask.bits.height() << " pixels\n";
  return answer.masks.empty() ? 1 : 0;
} catch (const lisa::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
