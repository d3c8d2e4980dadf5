// What weights in fewer bits cost lisa-tiny, as a Markdown table: errors of layers and of the vectors that masks are
// made from, masks beside those of bf16, and the scores of `lisa eval` on the same held-out scenes of the tabletop
// world.
//
//   quantisation_error [models/lisa-tiny [400]]     the checkpoint's folder, the number of scenes
//
// Quantised models are those of `lisa convert --weights FORMAT --dtype bf16`; "image encoder too" is more than its
// `--image-encoder-weights int8`, which spares the last two of three blocks. Exits 1 when the gIoU of one of them is
// below bf16's by more than its bar.

#include <ATen/core/Tensor.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/eval/bootstrap.hpp"
#include "lisa/eval/evaluator.hpp"
#include "lisa/eval/teacher_forced.hpp"
#include "lisa/model/load.hpp"
#include "lisa/model/predictor.hpp"
#include "lisa/model/quantisable.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace {

using namespace lisa;

struct Variant {
  std::string name;
  Precision precision = Precision::bf16;
  std::optional<WeightFormat> weights{};
  double bar = std::numeric_limits<double>::infinity();  ///< what its gIoU may fall by
  bool image_encoder = false;                            ///< the linear layers of all its blocks in int8 as well
};

const std::vector<Variant> variants{{"fp32", Precision::fp32},
                                    {"bf16"},
                                    {"int8", Precision::bf16, WeightFormat::int8_row, 0.01},
                                    {"int8, image encoder too", Precision::bf16, WeightFormat::int8_row, 0.01, true},
                                    {"int4", Precision::bf16, WeightFormat::int4_group32, 0.02},
                                    {"int4-128", Precision::bf16, WeightFormat::int4_group128, 0.02},
                                    {"nf4", Precision::bf16, WeightFormat::nf4_group64, 0.02}};

/// The scenes of `lisa eval --tabletop scenes --questions 4 --scene-seed 1`.
DataSet held_out_scenes(std::size_t scenes) {
  TabletopSettings settings;
  settings.scene.side = 96;
  settings.style.naming_answers = true;
  settings.split = TabletopSplit::scenes;
  settings.seed = 1;
  settings.scenes = scenes;
  settings.questions = 4;
  settings.shares = tabletop_mask_shares();
  return tabletop_data_set(settings);
}

double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  return found.to(at::kFloat).sub(expected).norm().item<double>() / expected.norm().item<double>();
}

/// What a model gives for all scenes.
struct Outcome {
  std::vector<double> layer_errors;           ///< of each projection's outputs, for normal inputs
  std::vector<at::Tensor> hidden;             ///< fp32 [N, hidden] at the `[SEG]` of each question
  std::vector<at::Tensor> seg_vectors;        ///< fp32 [N, prompt_dim], what text_hidden_fcs makes of them
  std::vector<std::vector<BitMask>> masks;    ///< of each scene, answers given
  std::vector<ImageOverlaps> teacher_forced;  ///< of each scene
  std::vector<ImageOverlaps> free_running;    ///< of each scene
};

/// Gives the projections the variant's format. @param exact the model in fp32, whose weights are quantised
/// @return the relative error of each layer's outputs
std::vector<double> quantise_projections(Lisa<LisaTiny>& model, const Lisa<LisaTiny>& exact, const Variant& variant) {
  std::vector<at::Tensor> weights;
  Lisa<LisaTiny> source = exact;  // handles
  source.llm.for_each_projection([&](const std::string&, auto& p) { weights.push_back(p.base.weight); });
  std::vector<double> errors;
  const auto dtype = variant.precision == Precision::fp32 ? at::kFloat : at::kBFloat16;
  model.llm.for_each_projection([&](const std::string&, auto& projection) {
    const at::Tensor& weight = weights[errors.size()];
    if (variant.weights) projection.base.weight = quantised(weight, *variant.weights);
    const at::Tensor x = at::randn({64, weight.size(1)});
    errors.push_back(relative_error(apply_linear(x.to(dtype), projection.base.weight), at::linear(x, weight)));
  });
  return errors;
}

/// Gives the linear layers of the image encoder 8 bits, in all blocks: `lisa convert` spares the last two.
void quantise_image_encoder(Lisa<LisaTiny>& model, const Lisa<LisaTiny>& exact) {
  constexpr std::string_view prefix = "model.visual_model.image_encoder";
  std::map<std::string, at::Tensor> weights;
  auto source = exact.image_encoder;  // handles
  source.for_each_parameter(std::string(prefix), [&](const std::string& name, at::Tensor& weight, const Shape&) {
    weights.emplace(name, weight);
  });
  model.image_encoder.for_each_parameter(std::string(prefix),
                                         [&](const std::string& name, at::Tensor& weight, const Shape&) {
                                           if (is_image_encoder_linear(name))
                                             weight = quantised(weights.at(name), WeightFormat::int8_row);
                                         });
}

at::Tensor traced(const AnswerTrace& trace, std::string_view name) {
  for (const auto& [known, value] : trace)
    if (known == name) return value.to(at::kFloat);
  throw InputError("trace", found_expected("no " + std::string(name), "one"));
}

/// The hidden states and vectors of the `[SEG]` of the right answers to a scene's single questions.
void trace_answers(Predictor<LisaTiny>& predictor, const Sample& sample, Outcome& outcome) {
  for (const Dialogue& dialogue : sample.dialogues) {
    if (dialogue.exchanges.size() != 1) continue;
    AnswerTrace trace;
    AskOptions options;
    options.trace = &trace;
    options.forced_answer = predictor.model().tokenizer.encode_continuation(dialogue.exchanges[0].answer);
    options.forced_answer.push_back(predictor.model().tokenizer.eos());
    predictor.reset();
    (void)predictor.ask(dialogue.exchanges[0].question, options);
    outcome.hidden.push_back(traced(trace, "seg_hidden_rows"));
    outcome.seg_vectors.push_back(traced(trace, "seg_vectors"));
  }
  predictor.reset();
}

void score(const SampleRecord& record, Method method, ImageOverlaps& overlaps) {
  for (const DialogueRecord& dialogue : record.dialogues) {
    const MethodResult& result = *dialogue.find(method);
    overlaps.insert(overlaps.end(), result.overlaps.begin(), result.overlaps.end());
    overlaps.insert(overlaps.end(), result.surplus.begin(), result.surplus.end());
  }
}

Outcome measure(const std::string& folder, const Lisa<LisaTiny>& exact, const DataSet& data, const Variant& variant) {
  const c10::InferenceMode no_gradients;
  at::manual_seed(1);
  LoadedModel<LisaTiny> loaded = load<LisaTiny>(folder, {.precision = variant.precision});
  Outcome outcome;
  outcome.layer_errors = quantise_projections(loaded.model, exact, variant);
  if (variant.image_encoder) quantise_image_encoder(loaded.model, exact);
  Predictor<LisaTiny> predictor(loaded);
  AskOptions answering;
  answering.max_new_tokens = 40;
  const EvaluatedModel model = evaluated_model(predictor, answering);
  const EvaluationOptions options;
  for (std::size_t index = 0; index < data.size; ++index) {
    const Sample sample = read_for_evaluation(data, index, options);
    const SampleRecord record = evaluate_sample(model, sample, index, options);
    score(record, Method::teacher_forced, outcome.teacher_forced.emplace_back());
    score(record, Method::free_running, outcome.free_running.emplace_back());
    std::vector<BitMask>& masks = outcome.masks.emplace_back();
    for (const DialogueRecord& dialogue : record.dialogues)
      for (const CocoRle& mask : dialogue.find(Method::teacher_forced)->masks) masks.push_back(decode_rle(mask));
    trace_answers(predictor, sample, outcome);
  }
  return outcome;
}

struct Spread {
  double mean = 0, lowest = 0, highest = 0;
};

Spread spread(const std::vector<double>& values) {
  if (values.empty()) throw InputError("scenes", found_expected("no masks in them", "more scenes"));
  const auto [low, high] = std::ranges::minmax(values);
  double sum = 0;
  for (const double value : values) sum += value;
  return {sum / static_cast<double>(values.size()), low, high};
}

/// IoU of the masks with another model's; 1 where both are empty.
Spread mask_ious(const Outcome& found, const Outcome& reference) {
  std::vector<double> ious;
  for (std::size_t i = 0; i < found.masks.size(); ++i)
    for (std::size_t k = 0; k < found.masks[i].size(); ++k)
      ious.push_back(found.masks[i][k] == reference.masks[i][k] ? 1 : iou(found.masks[i][k], reference.masks[i][k]));
  return spread(ious);
}

Spread cosines(const Outcome& found, const Outcome& reference) {
  std::vector<double> values;
  for (std::size_t i = 0; i < found.seg_vectors.size(); ++i) {
    const at::Tensor cosine = at::cosine_similarity(found.seg_vectors[i], reference.seg_vectors[i], 1);  // [N]
    for (dim n = 0; n < cosine.size(0); ++n) values.push_back(cosine[n].item<double>());
  }
  return spread(values);
}

Spread hidden_errors(const Outcome& found, const Outcome& reference) {
  std::vector<double> values;
  for (std::size_t i = 0; i < found.hidden.size(); ++i)
    for (dim n = 0; n < found.hidden[i].size(0); ++n)
      values.push_back(relative_error(found.hidden[i][n], reference.hidden[i][n]));
  return spread(values);
}

/// gIoU of images drawn by their indices.
double giou(const std::vector<ImageOverlaps>& images, std::span<const std::size_t> indices) {
  double sum = 0, masks = 0;
  for (const std::size_t i : indices)
    for (const MaskOverlap& overlap : images[i]) {
      sum += overlap_iou(overlap);
      masks += 1;
    }
  return sum / masks;
}

/// "0.7312, -0.0021 [-0.0050, 0.0007]": a gIoU and what it gains over another's on the same images, with the 95 %
/// interval of the gain over images.
std::string gain(const std::vector<ImageOverlaps>& found, const std::vector<ImageOverlaps>& reference) {
  std::vector<std::size_t> all(found.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto difference = [&](std::span<const std::size_t> indices) {
    return std::optional(giou(found, indices) - giou(reference, indices));
  };
  Random random{1};
  const Interval interval = bootstrap_interval(found.size(), difference, random).value();
  char text[128];
  std::snprintf(text, sizeof text, "%.4f | %+.4f [%+.4f, %+.4f]", giou(found, all), *difference(all), interval.low,
                interval.high);
  return text;
}

void print_row(const Variant& variant, const Outcome& found, const Outcome& fp32, const Outcome& bf16) {
  const Spread layers = spread(found.layer_errors), hidden = hidden_errors(found, fp32);
  const Spread cosine = cosines(found, fp32), masks = mask_ious(found, bf16);
  std::printf("| %s | %.4f (%.4f) | %.4f (%.4f) | %.5f (%.5f) | %.4f | %s | %s |\n", variant.name.c_str(), layers.mean,
              layers.highest, hidden.mean, hidden.highest, cosine.mean, cosine.lowest, masks.mean,
              gain(found.teacher_forced, bf16.teacher_forced).c_str(),
              gain(found.free_running, bf16.free_running).c_str());
}

/// Whether a variant loses no more than its bar, both ways.
bool keeps_bar(const Variant& variant, const Outcome& found, const Outcome& bf16) {
  return exact_score(found.teacher_forced).giou >= exact_score(bf16.teacher_forced).giou - variant.bar &&
         exact_score(found.free_running).giou >= exact_score(bf16.free_running).giou - variant.bar;
}

int run(const std::string& folder, std::size_t scenes) {
  Stopwatch watch;
  const DataSet data = held_out_scenes(scenes);
  const LoadedModel<LisaTiny> exact = load<LisaTiny>(folder, {.precision = Precision::fp32});
  std::vector<Outcome> outcomes;
  for (const Variant& variant : variants) {
    outcomes.push_back(measure(folder, exact.model, data, variant));
    std::fprintf(stderr, "%s: %.0f s\n", variant.name.c_str(), watch.lap());
  }
  std::printf("%s: %zu scenes, the vectors of %zu questions\n\n", folder.c_str(), scenes,
              outcomes.front().seg_vectors.size());
  std::printf(
      "| weights | layers (highest) | hidden states (highest) | cosine of [SEG] vectors (lowest) | mask IoU | gIoU, "
      "teacher-forced | change | gIoU, free-running | change |\n|---|---|---|---|---|---|---|---|---|\n");
  bool kept = true;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    print_row(variants[i], outcomes[i], outcomes[0], outcomes[1]);
    kept = kept && keeps_bar(variants[i], outcomes[i], outcomes[1]);
  }
  if (!kept) std::fprintf(stderr, "A format loses more than its bar.\n");
  return kept ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count > 1 ? arguments[1] : "models/lisa-tiny", count > 2 ? std::stoul(arguments[2]) : 400);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quantisation_error: %s\n", error.what());
    return 2;
  }
}
