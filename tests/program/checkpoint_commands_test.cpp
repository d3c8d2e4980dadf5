// `lisa info`, `lisa convert` and `lisa random` of the program built for the recorded checkpoint's own sizes.

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/files/json.hpp"
#include "lisa/model/quantisable.hpp"
#include "lisa/text/tokenizer_files.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

// After libtorch's headers, which define CHECK as well.
#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::TempDir;
using lisa::test::write_text;

namespace {

namespace fs = std::filesystem;

const std::string model = LISA_TEST_DATA "/golden/model_a";
const std::string clip = LISA_TEST_DATA "/golden/clip_a";

ProgramRun lisa_program(const std::vector<std::string>& arguments, std::optional<std::uint64_t> largest_file = {}) {
  return lisa::test::run_program(LISA_PROGRAM, arguments, largest_file);
}

/// From the include guard on, without white space: what stays the same when a header is formatted.
std::string code_of(const std::string& header) {
  std::string code = header.substr(std::min(header.find("#pragma once"), header.size()));
  std::erase_if(code, [](unsigned char c) { return std::isspace(c) != 0; });
  return code;
}

std::map<std::string, at::Tensor> tensors_of(const fs::path& path) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : read_archive(path).tensors) tensors.emplace(name, tensor.value);
  return tensors;
}

bool same_tensors(const fs::path& a, const fs::path& b) {
  const auto left = tensors_of(a), right = tensors_of(b);
  if (left.size() != right.size() || left.empty()) return false;
  return std::ranges::all_of(left, [&](const auto& entry) {
    const auto found = right.find(entry.first);
    return found != right.end() && found->second.scalar_type() == entry.second.scalar_type() &&
           at::equal(found->second, entry.second);
  });
}

/// The names in a folder, hidden ones included.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

const std::string adapted = "model.layers.1.self_attn.q_proj";

/// A PEFT folder of rank 2 and alpha 6 for one projection of the recorded checkpoint.
void write_adapter(const fs::path& folder, const at::Tensor& a, const at::Tensor& b, const std::string& projection) {
  fs::create_directory(folder);
  write_text(folder / "adapter_config.json",
             R"({"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"], "bias": "none"})");
  write_safetensors(folder / "adapter_model.safetensors", {{"base_model.model." + projection + ".lora_A.weight", a},
                                                           {"base_model.model." + projection + ".lora_B.weight", b}});
}

/// The trace of a forced answer by a checkpoint in fp32. @param to folder of the answer, and the trace's name beside it
TensorArchive traced_answer(const fs::path& checkpoint, const fs::path& to) {
  const std::string trace = to.string() + ".safetensors";
  const ProgramRun run =
      lisa_program({"segment", "--model", checkpoint, "--vision-tower", clip, "--image",
                    LISA_TEST_DATA "/golden/a1/a1.png", "--prompt", "What is in this image?", "--output", to,
                    "--force-answer", "It is [SEG].", "--dump", trace, "--dtype", "fp32"});
  CAPTURE(run.err);
  REQUIRE(run.exit_code == 0);
  return read_archive(trace);
}

}  // namespace

TEST_CASE("info lists the compiled specifications, and what one needs") {
  const ProgramRun list = lisa_program({"info", "--json"});
  REQUIRE(list.exit_code == 0);
  const Json specs = parse_json(list.out, "info");
  REQUIRE(specs.size() == 1);
  CHECK(specs[0]["name"] == "model_a");
  const ProgramRun one = lisa_program({"info", "model_a"});
  CHECK(one.exit_code == 0);
  for (const char* part : {"llm", "vision_tower", "visual_projector", "seg_projector", "image_encoder", "mask_decoder"})
    CHECK(one.out.find(part) != std::string::npos);
}

TEST_CASE("info says what a checkpoint consists of and which specification fits") {
  const ProgramRun run = lisa_program({"info", model, "--vision-tower", clip, "--json"});
  REQUIRE(run.exit_code == 0);
  const Json info = parse_json(run.out, "info");
  CHECK(info["specification"] == "model_a");
  CHECK(info["architecture"] == "LISAForCausalLM");
  CHECK(info["vocabulary"] == 704);
  CHECK(info["token_ids"]["[SEG]"] == 703);
  std::map<std::string, std::int64_t> expected;
  for (const auto& [name, tensor] : tensors_of(model)) {
    const std::string_view text = name;
    const std::string part = text.starts_with("model.visual_model.image_encoder.") ? "image_encoder"
                             : text.starts_with("model.visual_model.")             ? "mask_decoder"
                             : text.starts_with("model.text_hidden_fcs.")          ? "seg_projector"
                             : text.starts_with("model.mm_projector.")             ? "visual_projector"
                                                                                   : "llm";
    expected[part] += tensor.numel();
  }
  std::int64_t total = 0;
  for (const Json& part : info["parts"]) {
    total += part["parameters"].get<std::int64_t>();
    if (part["part"] != "vision_tower") CHECK(part["parameters"] == expected.at(part["part"].get<std::string>()));
    CHECK(part["bytes"] == 4 * part["parameters"].get<std::int64_t>());
  }
  CHECK(info["parts"].size() == 6);
  CHECK(info["memory"]["fp32"] == 4 * total);
  CHECK(info["memory"]["bf16"] == 2 * total);
  CHECK(info["memory"]["stored"] == 4 * total);
}

TEST_CASE("info --spec prints the header that this program was built with") {
  const ProgramRun run =
      lisa_program({"info", "--spec", model, "--vision-tower", clip, "--decoder-heads", "4", "--name", "GoldenSpec"});
  REQUIRE(run.exit_code == 0);
  CHECK(run.out.starts_with("// Derived from "));
  CHECK(code_of(run.out) == code_of(read_text(LISA_TEST_DATA "/program/golden_spec.hpp")));
}

TEST_CASE("info --spec without the CLIP folder says how to give it and prints nothing") {
  const ProgramRun run = lisa_program({"info", "--spec", model});
  CHECK(run.exit_code == 6);
  CHECK(run.out.empty());
  CHECK(run.err.find("--vision-tower") != std::string::npos);
  CHECK(run.err.find("config.json") != std::string::npos);
}

TEST_CASE("A converted checkpoint holds the same tensors and files, in any format and number of files") {
  const TempDir temp;
  const fs::path whole = temp / "whole", shards = temp / "shards";
  REQUIRE(lisa_program({"convert", model, "--output", whole}).exit_code == 0);
  CHECK(fs::exists(whole / "model.safetensors"));
  CHECK(same_tensors(model, whole));
  REQUIRE(
      lisa_program({"convert", whole, "--output", shards, "--format", "bin", "--max-shard-size", "300kB"}).exit_code ==
      0);
  CHECK(fs::exists(shards / "pytorch_model.bin.index.json"));
  CHECK(same_tensors(model, shards));
  for (const char* name : {"config.json", "tokenizer.model", "added_tokens.json", "special_tokens_map.json"})
    CHECK(read_text(shards / name) == read_text(fs::path(model) / name));
  CHECK(names_in(temp.path()) == std::vector<std::string>{"shards", "whole"});
}

TEST_CASE("Converting to mixed gives each part its dtype and the config.json that goes with it") {
  const TempDir temp;
  const fs::path mixed = temp / "mixed";
  REQUIRE(lisa_program({"convert", model, "--output", mixed, "--dtype", "mixed"}).exit_code == 0);
  const auto before = tensors_of(model);
  for (const auto& [name, tensor] : tensors_of(mixed)) {
    CAPTURE(name);
    const bool fp32 = name.starts_with("model.visual_model.") || name.starts_with("model.text_hidden_fcs.");
    CHECK((tensor.scalar_type() == (fp32 ? at::kFloat : at::kBFloat16)));
    CHECK(at::equal(tensor, before.at(name).to(tensor.scalar_type())));
  }
  CHECK(read_json(mixed / "config.json")["torch_dtype"] == "bfloat16");
}

TEST_CASE(
    "convert --weights holds the language model's projections in fewer bits, everything else as it was, and answers") {
  const TempDir temp;
  const auto before = tensors_of(model);
  for (const std::string format : {"int8", "int4", "nf4"}) {
    CAPTURE(format);
    const fs::path narrow = temp / format;
    REQUIRE(lisa_program({"convert", model, "--output", narrow, "--weights", format}).exit_code == 0);
    std::size_t projections = 0;
    for (const auto& [name, tensor] : tensors_of(narrow)) {
      CAPTURE(name);
      const at::Tensor& weight = before.at(name);
      if (!name.starts_with("model.layers.") || !name.ends_with("_proj.weight")) {
        CHECK(at::equal(tensor, weight));
        continue;
      }
      ++projections;
      REQUIRE((tensor.scalar_type() == at::kByte));
      // Runs of 32 weights in 16 bytes with a scale of 2 bytes for each 32 or 64; 8 bits and a scale of 4 for a row.
      const auto in = weight.size(1), runs = (in + 31) / 32;
      CHECK(tensor.size(0) == weight.size(0));
      CHECK(tensor.size(1) == (format == "int8"   ? in + 4
                               : format == "int4" ? runs * 18
                                                  : runs * 16 + (in + 63) / 64 * 2));
    }
    CHECK(projections == 3 * 7);
    const ProgramRun run =
        lisa_program({"segment", "--model", narrow, "--vision-tower", clip, "--image",
                      LISA_TEST_DATA "/golden/a1/a1.png", "--prompt", "What is in this image?", "--output",
                      temp / ("answer-" + format), "--max-new-tokens", "8", "--dtype", "fp32"});
    CAPTURE(run.err);
    REQUIRE(run.exit_code == 0);
    CHECK(read_json(temp / ("answer-" + format) / "a1.json")["text_output"].is_string());
  }
}

TEST_CASE("convert --head-weights holds the language model's head alone in fewer bits, and answers with it") {
  const TempDir temp;
  const auto before = tensors_of(model);
  const TensorArchive exact = traced_answer(model, temp / "exact");
  const std::vector<std::pair<std::string, double>> bounds{{"int8", 0.02}, {"int4", 0.2}};
  for (const auto& [format, bound] : bounds) {
    CAPTURE(format);
    const fs::path narrow = temp / format;
    REQUIRE(lisa_program({"convert", model, "--output", narrow, "--head-weights", format}).exit_code == 0);
    for (const auto& [name, tensor] : tensors_of(narrow)) {
      CAPTURE(name);
      if (name == "lm_head.weight")
        CHECK((tensor.scalar_type() == at::kByte));
      else
        CHECK(at::equal(tensor, before.at(name)));
    }
    const TensorArchive rounded = traced_answer(narrow, temp / ("rounded-" + format));
    const auto difference = [&](const char* name) {
      const at::Tensor& expected = exact.tensors.at(name).value;
      return rounded.tensors.at(name).value.sub(expected).norm().item<double>() / expected.norm().item<double>();
    };
    CHECK(difference("last_step_logits") > 1e-5);
    CHECK(difference("last_step_logits") < bound);
    CHECK(difference("last_hidden_states") == 0);
  }
  const ProgramRun run = lisa_program({"convert", model, "--output", temp / "other", "--head-weights", "int3"});
  CHECK(run.exit_code == 6);
  CHECK(run.err.find("head-weights: found \"int3\", expected one of") != std::string::npos);
}

TEST_CASE("convert --image-encoder-weights holds SAM's linear layers in 8 bits, but those of its last two blocks") {
  const TempDir temp;
  const auto before = tensors_of(model);
  const fs::path narrow = temp / "narrow";
  REQUIRE(lisa_program({"convert", model, "--output", narrow, "--image-encoder-weights", "int8"}).exit_code == 0);
  std::size_t layers = 0;
  dim blocks = 0;
  for (const auto& [name, tensor] : before)
    if (name.starts_with("model.visual_model.image_encoder.blocks.") && name.ends_with(".attn.qkv.weight")) ++blocks;
  for (const auto& [name, tensor] : tensors_of(narrow)) {
    CAPTURE(name);
    const at::Tensor& weight = before.at(name);
    if (tensor.scalar_type() != at::kByte) {
      CHECK(at::equal(tensor, weight));
      continue;
    }
    ++layers;
    CHECK(is_image_encoder_linear(name));
    CHECK(name.find(".blocks." + std::to_string(blocks - 1) + ".") == std::string::npos);
    CHECK(name.find(".blocks." + std::to_string(blocks - 2) + ".") == std::string::npos);
    CHECK(tensor.size(1) == weight.size(1) + 4);
  }
  CHECK(layers == static_cast<std::size_t>(4 * (blocks - 2)));
  const auto embedding = [](const TensorArchive& trace) { return trace.tensors.at("image_embedding").value; };
  const at::Tensor exact = embedding(traced_answer(model, temp / "exact"));
  const at::Tensor rounded = embedding(traced_answer(narrow, temp / "rounded"));
  const double error = rounded.sub(exact).norm().item<double>() / exact.norm().item<double>();
  CHECK(error > 1e-5);
  CHECK(error < 0.03);
  const ProgramRun run =
      lisa_program({"convert", model, "--output", temp / "other", "--image-encoder-weights", "int4"});
  CHECK(run.exit_code == 6);
  CHECK(run.err.find("image-encoder-weights: found int4, expected int8") != std::string::npos);
}

TEST_CASE("weights that are quantised already, too narrow or of an unknown format are refused") {
  const TempDir temp;
  const fs::path quantised = temp / "int8";
  REQUIRE(lisa_program({"convert", model, "--output", quantised, "--weights", "int8"}).exit_code == 0);
  const auto refused = [&](const fs::path& source, const char* format) {
    const ProgramRun run = lisa_program({"convert", source, "--output", temp / "out", "--weights", format});
    CHECK(run.exit_code == 6);
    return run.err;
  };
  CHECK(refused(model, "int4-128").find("found rows of 64 for int4-128, expected longer ones") != std::string::npos);
  CHECK(refused(model, "int3").find("expected one of int8, int4, nf4, int4-128") != std::string::npos);
  CHECK(refused(quantised, "int8").find("quantised already") != std::string::npos);
  CHECK(names_in(temp.path()) == std::vector<std::string>{"int8"});
}

TEST_CASE("convert writes neither into its source nor over anything") {
  const TempDir temp;
  const fs::path copy = temp / "copy";
  fs::copy(model, copy);
  const auto before = lisa::test::detail::snapshot(temp.path());
  CHECK(lisa_program({"convert", copy, "--output", copy}).exit_code == 6);
  CHECK(lisa_program({"convert", copy, "--output", copy / "inner"}).exit_code == 6);
  CHECK(lisa_program({"convert", model, "--output", copy}).exit_code == 6);
  CHECK(lisa_program({"convert", temp / "nothing", "--output", temp / "out"}).exit_code == 6);
  CHECK(lisa_program({"convert", model, "--output", temp / "out", "--format", "gguf"}).exit_code == 6);
  CHECK(lisa_program({"convert", model, "--output", temp / "out", "--max-shard-size", "5 parsecs"}).exit_code == 6);
  CHECK(lisa::test::detail::snapshot(temp.path()) == before);
}

TEST_CASE("A file that cannot be written in full leaves no folder behind") {
  const TempDir temp;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"convert", model, "--output", temp / "out"},
        std::vector<std::string>{"random", "--spec", "model_a", "--output", temp / "out"}}) {
    CAPTURE(command.front());
    const ProgramRun run = lisa_program(command, 100'000);
    CHECK(run.exit_code == 3);
    CHECK(run.err.find("error: ") != std::string::npos);
    CHECK(names_in(temp.path()).empty());
  }
}

TEST_CASE("A merged adapter adds alpha / rank * B A to its projection and nothing to the rest") {
  const TempDir temp;
  const auto before = tensors_of(model);
  const at::Tensor weight = before.at(adapted + ".weight");
  const at::Tensor a = at::randn({2, weight.size(1)}), b = at::randn({weight.size(0), 2});
  write_adapter(temp / "adapter", a, b, adapted);
  const fs::path merged = temp / "merged";
  REQUIRE(lisa_program({"convert", model, "--output", merged, "--merge-adapter", temp / "adapter"}).exit_code == 0);
  const auto after = tensors_of(merged);
  REQUIRE(after.size() == before.size());
  for (const auto& [name, tensor] : before) {
    CAPTURE(name);
    if (name == adapted + ".weight")
      CHECK(at::allclose(after.at(name), weight.add(at::matmul(b, a), 3.0), 1e-6, 1e-6));
    else
      CHECK(at::equal(after.at(name), tensor));
  }
}

TEST_CASE("An adapter with tensors that have no place, or of other sizes, is refused by name") {
  const TempDir temp;
  const at::Tensor a = at::full({2, 64}, 1.0F), b = at::full({64, 2}, 1.0F);
  write_adapter(temp / "no_place", a, b, "model.layers.7.self_attn.q_proj");
  write_adapter(temp / "other_rank", at::full({3, 64}, 1.0F), at::full({64, 3}, 1.0F), adapted);
  for (const auto& [adapter, name] :
       {std::pair<std::string, std::string>{"no_place", "model.layers.7.self_attn.q_proj"}, {"other_rank", adapted}}) {
    const ProgramRun run =
        lisa_program({"convert", model, "--output", temp / "out", "--merge-adapter", temp / adapter});
    CHECK(run.exit_code == 5);
    CHECK(run.err.find(name + ".lora_A.weight") != std::string::npos);
    CHECK(run.err.find(name + ".lora_B.weight") != std::string::npos);
  }
  CHECK(names_in(temp.path()) == std::vector<std::string>{"no_place", "other_rank"});
}

TEST_CASE("A random checkpoint fits its specification, depends on the seed alone and has useful values") {
  const TempDir temp;
  const fs::path one = temp / "one", same = temp / "same", other = temp / "other";
  REQUIRE(lisa_program({"random", "--spec", "model_a", "--output", one, "--seed", "5"}).exit_code == 0);
  REQUIRE(lisa_program({"random", "--spec", "model_a", "--output", same, "--seed", "5", "--format", "safetensors"})
              .exit_code == 0);
  REQUIRE(lisa_program({"random", "--spec", "model_a", "--output", other, "--seed", "6"}).exit_code == 0);
  CHECK(same_tensors(one, same));
  CHECK(same_tensors(one / "vision_tower", same / "vision_tower"));
  CHECK_FALSE(same_tensors(one, other));
  const ProgramRun info = lisa_program({"info", one, "--json"});
  REQUIRE(info.exit_code == 0);
  CHECK(parse_json(info.out, "info")["specification"] == "model_a");
  CHECK(parse_json(info.out, "info")["warnings"].empty());
  const ProgramRun spec = lisa_program({"info", "--spec", one, "--decoder-heads", "4", "--name", "GoldenSpec"});
  CHECK(spec.exit_code == 0);
  const auto tensors = tensors_of(one);
  const at::Tensor matrix = tensors.at("model.embed_tokens.weight");
  CHECK((matrix.scalar_type() == at::kBFloat16));
  CHECK(matrix.to(at::kFloat).std().item<float>() == doctest::Approx(0.02).epsilon(0.05));
  CHECK(tensors.at("model.norm.weight").to(at::kFloat).mean().item<float>() == doctest::Approx(1).epsilon(0.05));
  CHECK((tensors.at("model.visual_model.mask_decoder.mask_tokens.weight").scalar_type() == at::kFloat));
}

TEST_CASE("A random checkpoint's tokenizer knows the words of LISA's prompts and its added tokens") {
  const TempDir temp;
  REQUIRE(lisa_program({"random", "--spec", "model_a", "--output", temp / "out"}).exit_code == 0);
  const Tokenizer tokenizer = load_tokenizer(temp / "out");
  CHECK(tokenizer.vocab_size() == 704);
  CHECK(tokenizer.seg() == 703);
  const std::vector<std::int64_t> ids = tokenizer.encode("The assistant gives helpful answers");
  CHECK(ids.size() == 6);  // <s> and five words
  CHECK(tokenizer.decode(ids, true) == "The assistant gives helpful answers");
}

TEST_CASE("A random checkpoint answers a question") {
  const TempDir temp;
  const fs::path folder = temp / "model";
  REQUIRE(lisa_program({"random", "--spec", "model_a", "--output", folder}).exit_code == 0);
  const ProgramRun run =
      lisa_program({"segment", "--model", folder, "--image", LISA_TEST_DATA "/golden/a1/a1.png", "--prompt",
                    "What is in this image?", "--output", temp / "answers", "--max-new-tokens", "3"});
  CAPTURE(run.err);
  CHECK(run.exit_code == 0);
}

TEST_CASE("A specification that the program does not have is refused with those it has") {
  const TempDir temp;
  const ProgramRun run = lisa_program({"random", "--spec", "lisa-70b", "--output", temp / "out"});
  CHECK(run.exit_code == 6);
  CHECK(run.err.find("model_a") != std::string::npos);
  CHECK(names_in(temp.path()).empty());
}
