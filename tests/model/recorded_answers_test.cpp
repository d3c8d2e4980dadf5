// The original's recorded answers, level by level: tests/golden/a1, a2, a3 through load and Predictor.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lisa/text/tokenizer.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

struct Run {
  Answer answer;
  AnswerTrace trace;
};

Run run(const LoadedModel<GoldenSpec>& model, const GoldenCase& recorded) {
  Run result;
  Predictor predictor(model);
  predictor.set_image(recorded.image);
  AskOptions options;
  options.trace = &result.trace;
  result.answer = predictor.ask(recorded.question, options);
  return result;
}

/// Words about everything in which a run leaves the tolerances; "" when it leaves none.
std::string deviations(const Run& run, const GoldenCase& recorded) {
  std::string found;
  for (const auto& [name, reference] : recorded.tensors) {
    const auto complain = [&, &key = name](const std::string& what) {
      found += recorded.name + "." + key + ": " + what + "\n";
    };
    const auto entry = std::ranges::find(run.trace, name, &AnswerTrace::value_type::first);
    if (entry == run.trace.end()) {
      complain("absent");
      continue;
    }
    const at::Tensor& value = entry->second;
    if (value.sizes() != reference.sizes() || value.scalar_type() != reference.scalar_type()) {
      complain(to_string(shape_of(value)) + " instead of " + to_string(shape_of(reference)) + ", or its dtype");
      continue;
    }
    const double difference = largest_difference(value, reference);
    if (!reference.is_floating_point()) {
      if (difference != 0) complain("not equal");
    } else if (!(relative_l2(value, reference) <= 1e-4 || reference.numel() == 0)) {
      complain("relative L2 " + std::to_string(relative_l2(value, reference)));
    } else if (name == "mask_logits" && !(difference <= 1e-3)) {
      complain("largest difference " + std::to_string(difference));
    }
  }
  return found;
}

/// Pixels of a mask that differ from the sign of the reference logits, except where that is within 1e-3 of 0.
std::int64_t wrong_pixels(const BitMask& mask, const at::Tensor& reference) {  // [H, W]
  const at::Tensor logits = reference.contiguous();
  const auto* logit = logits.const_data_ptr<float>();
  std::int64_t wrong = 0;
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x, ++logit)
      if (std::abs(*logit) >= 1e-3F && mask.at(x, y) != (*logit > 0)) ++wrong;
  return wrong;
}

void check_strings_and_masks(const Run& run, const GoldenCase& recorded, const Tokenizer& tokenizer) {
  std::vector<std::int64_t> ids = run.answer.prompt_ids;
  ids.insert(ids.end(), run.answer.answer_ids.begin(), run.answer.answer_ids.end());
  std::erase(ids, image_token_id);
  CHECK(tokenizer.decode(ids) == recorded.json.at("output_ids_decoded").get<std::string>());
  CHECK(chat_text(tokenizer.decode(ids)) == recorded.json.at("text_output").get<std::string>());
  CHECK(run.answer.stopped_by == StopReason::end_token);

  const auto positive = recorded.json.at("mask_positive_pixels").get<std::vector<std::int64_t>>();
  const auto indices = recorded.tensors.at("seg_token_index");
  REQUIRE(run.answer.masks.size() == positive.size());
  for (std::size_t i = 0; i < positive.size(); ++i) {
    const AnswerMask& mask = run.answer.masks[i];
    const at::Tensor reference = recorded.tensors.at("mask_logits")[static_cast<std::int64_t>(i)];
    const auto unsure = reference.abs().lt(1e-3).sum().item<std::int64_t>();
    CHECK(wrong_pixels(mask.bits, reference) == 0);
    CHECK(std::abs(area(mask.bits) - positive[i]) <= unsure);
    CHECK(mask.token_index == indices[static_cast<std::int64_t>(i)].item<std::int64_t>());
    CHECK(mask.stability_score > 0);
    CHECK(mask.stability_score <= 1);
  }
}

/// Standard output and error go into a file while this lives.
class CapturedOutput {
 public:
  CapturedOutput() {
    flush();
    const int file = ::open((folder_ / "out").c_str(), O_CREAT | O_RDWR, 0600);
    ::dup2(file, 1);
    ::dup2(file, 2);
    ::close(file);
  }
  ~CapturedOutput() { restore(); }
  CapturedOutput(const CapturedOutput&) = delete;
  CapturedOutput& operator=(const CapturedOutput&) = delete;

  std::string text() {
    restore();
    return read_text(folder_ / "out");
  }

 private:
  static void flush() {
    std::fflush(stdout);
    std::fflush(stderr);
  }
  void restore() {
    if (restored_) return;
    flush();
    ::dup2(saved_out_, 1);
    ::dup2(saved_err_, 2);
    ::close(saved_out_);
    ::close(saved_err_);
    restored_ = true;
  }

  TempDir folder_;
  int saved_out_ = ::dup(1), saved_err_ = ::dup(2);
  bool restored_ = false;
};

}  // namespace

TEST_CASE("every level of the recorded answers is reproduced in fp32") {
  const auto& model = golden_model();
  for (const char* name : {"a1", "a2", "a3"}) {
    CAPTURE(name);
    const GoldenCase recorded(name);
    REQUIRE(recorded.tensors.size() > 15);
    const Run result = run(model, recorded);
    CHECK(deviations(result, recorded) == "");
    check_strings_and_masks(result, recorded, model.tokenizer);
  }
}

TEST_CASE("loading and answering print nothing") {
  std::string printed = "not run";
  {
    CapturedOutput output;
    const auto model = load<GoldenSpec>(golden_checkpoint, golden_options());
    (void)run(model, GoldenCase("a1"));
    printed = output.text();
  }
  CHECK(printed == "");
}

TEST_CASE("a checkpoint answers alike in every file layout") {
  const auto tensors = golden_tensors("model_a");
  const GoldenCase recorded("a1");
  const Run reference = run(golden_model(), recorded);
  struct Layout {
    const char* name;
    TensorFileFormat format;
    std::uint64_t max_shard_bytes;
    const char* file;
  };
  for (const Layout& layout :
       {Layout{"one .safetensors", TensorFileFormat::safetensors, 1U << 30, "model.safetensors"},
        Layout{"sharded .safetensors", TensorFileFormat::safetensors, 200'000, "model.safetensors.index.json"},
        Layout{"one .bin", TensorFileFormat::torch_zip, 1U << 30, "pytorch_model.bin"},
        Layout{"sharded .bin", TensorFileFormat::torch_zip, 200'000, "pytorch_model.bin.index.json"}}) {
    CAPTURE(layout.name);
    const TempDir folder;
    write_golden_checkpoint(folder / "model", tensors, layout.format, layout.max_shard_bytes);
    REQUIRE(std::filesystem::exists(folder / "model" / layout.file));
    const auto model = load<GoldenSpec>((folder / "model").string(), golden_options());
    CHECK(model.files.size() >= (layout.max_shard_bytes < 1U << 30 ? 4U : 2U));
    const Run result = run(model, recorded);
    CHECK(deviations(result, recorded) == "");
    CHECK(result.answer.answer_ids == reference.answer.answer_ids);
    // The weights are the same bits; products over them may round differently where they lie otherwise in memory.
    CHECK(model.model.llm.lm_head.weight.equal(golden_model().model.llm.lm_head.weight));
    CHECK(relative_l2(result.answer.masks.at(0).low_res_logits, reference.answer.masks.at(0).low_res_logits) < 1e-4);
  }
}

TEST_CASE("the llava_llama_2 template asks in its own words") {
  const GoldenCase recorded("a1");
  Predictor predictor(golden_model(), llava_llama_2);
  predictor.set_image(recorded.image);
  AskOptions options;
  options.max_new_tokens = 8;
  options.segmentation = Segmentation::forced;
  const Answer answer = predictor.ask(recorded.question, options);
  const std::string prompt = predictor.conversation().prompt();
  CHECK(prompt.starts_with("[INST] <<SYS>>\n"));
  CHECK(prompt.find("<im_start><image><im_end>\n" + recorded.question + " [/INST]") != std::string::npos);
  CHECK(std::ranges::count(answer.prompt_ids, image_token_id) == 1);
  CHECK(answer.masks.size() >= 1);
}

// Prints the table of docs/parity.md: LISA_PRINT_PARITY=1 test_model_tensors -tc="parity table"
TEST_CASE("parity table") {
  if (std::getenv("LISA_PRINT_PARITY") == nullptr) return;
  std::map<std::string, std::map<std::string, std::string>> table;
  for (const char* name : {"a1", "a2", "a3"}) {
    const GoldenCase recorded(name);
    const Run result = run(golden_model(), recorded);
    for (const auto& [tensor, reference] : recorded.tensors) {
      const at::Tensor& value = traced(result.trace, tensor);
      char cell[64] = "none";
      if (!reference.is_floating_point())
        std::snprintf(cell, sizeof cell, "%s", value.equal(reference) ? "equal" : "DIFFERENT");
      else if (reference.numel() > 0)
        std::snprintf(cell, sizeof cell, "%.1e / %.1e", relative_l2(value, reference),
                      largest_difference(value, reference));
      table[tensor][name] = cell;
    }
  }
  std::printf("| tensor | a1 | a2 | a3 |\n|---|---|---|---|\n");
  for (auto& [tensor, cells] : table)
    std::printf("| %s | %s | %s | %s |\n", tensor.c_str(), cells["a1"].c_str(), cells["a2"].c_str(),
                cells["a3"].c_str());
}
