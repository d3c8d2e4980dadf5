// torch-free
#include "lisa/eval/evaluator.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/eval/record_file.hpp"
#include "lisa/eval/summary.hpp"
#include "tests/support/random_mask.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace lisa;
using lisa::test::random_mask;
using lisa::test::read_text;
using lisa::test::TempDir;
using lisa::test::write_text;

constexpr ImageSize small{4, 6};

/// The rectangle x .. x + width of all rows.
BitMask columns(int x, int width, ImageSize size = small) {
  BitMask mask(size);
  for (int y = 0; y < size.height; ++y)
    for (int i = x; i < x + width; ++i) mask.set(i, y);
  return mask;
}

LabelMask target(const BitMask& mask) { return {mask.size(), mask_bytes(mask)}; }

Dialogue dialogue(std::vector<Exchange> exchanges, const std::vector<BitMask>& masks, std::string group = "") {
  Dialogue made{std::move(exchanges), {}, std::move(group)};
  for (const BitMask& mask : masks) made.masks.push_back(target(mask));
  return made;
}

Sample sample_of(std::vector<Dialogue> dialogues, std::string id = "s") {
  return {std::move(id), make_image(small), std::move(dialogues)};
}

/// A model whose answers are looked up by question, and that notes what it was asked.
struct ScriptedModel {
  std::map<std::string, SpokenAnswer> script;
  std::vector<std::string> log;

  SpokenAnswer answer(std::string_view question) {
    const auto found = script.find(std::string(question));
    if (found == script.end()) throw InputError("prompt", "found a question without an answer in the script");
    return found->second;
  }

  EvaluatedModel functions() {
    EvaluatedModel model;
    model.set_image = [this](const Image&) { log.emplace_back("image"); };
    model.teacher_forced = [this](std::span<const Dialogue> dialogues) {
      log.push_back("read " + std::to_string(dialogues.size()));
      std::vector<std::vector<BitMask>> masks;
      for (const Dialogue& each : dialogues) {
        masks.emplace_back();
        for (const Exchange& exchange : each.exchanges)
          for (const BitMask& mask : answer(exchange.question).masks) masks.back().push_back(mask);
      }
      return masks;
    };
    model.ask_each = [this](const std::vector<std::string>& questions) {
      log.push_back("ask " + std::to_string(questions.size()));
      std::vector<SpokenAnswer> answers;
      for (const std::string& question : questions) answers.push_back(answer(question));
      return answers;
    };
    model.reset = [this] { log.emplace_back("reset"); };
    model.ask = [this](std::string_view question) {
      log.push_back("ask " + std::string(question));
      return answer(question);
    };
    return model;
  }
};

DataSet data_set(std::vector<Sample> samples) {
  const std::size_t size = samples.size();
  return {"scripted", size, [samples = std::move(samples)](std::size_t index, Random&) {
            if (samples[index].dialogues.empty()) throw FormatError("picture.png", "", "found a broken picture");
            return samples[index];
          }};
}

SampleRecord arbitrary_record(std::size_t index) {
  SampleRecord record{.index = index, .id = *rc::gen::string<std::string>()};
  // What is not UTF-8 cannot stand in JSON.
  std::erase_if(record.id, [](char c) { return static_cast<signed char>(c) < 0; });
  const int dialogues = *rc::gen::inRange(0, 3);
  for (int d = 0; d < dialogues; ++d) {
    DialogueRecord made{.group = d == 0 ? "" : "a \"group\"\n", .exchanges = {{"Where?", "\u00e9 [SEG]."}}};
    for (const auto& [method, name] : method_names) {
      if (!*rc::gen::arbitrary<bool>()) continue;
      MethodResult result{.method = method};
      const auto count = static_cast<std::int64_t>(*rc::gen::inRange(0, 1000));
      result.overlaps.push_back({count + 5, count + 1, count});
      if (*rc::gen::arbitrary<bool>()) result.surplus.push_back({.predicted = count});
      if (*rc::gen::arbitrary<bool>()) result.masks.push_back(encode_rle(random_mask(20)));
      if (*rc::gen::arbitrary<bool>()) {
        result.answers = {"said", ""};
        result.mask_counts = {1, 0};
      }
      made.results.push_back(std::move(result));
    }
    record.dialogues.push_back(std::move(made));
  }
  return record;
}

const MethodSummary& find(const std::vector<MethodSummary>& summaries, Method method,
                          const std::optional<std::string>& group = {}) {
  const auto found = std::ranges::find_if(
      summaries, [&](const MethodSummary& summary) { return summary.method == method && summary.group == group; });
  REQUIRE(found != summaries.end());
  return *found;
}

}  // namespace

TEST_CASE("free-running masks are matched in order within their exchange: missing is empty, surplus is wrong") {
  ScriptedModel script;
  script.script["two?"] = {"[SEG] and [SEG]", {columns(0, 2), columns(3, 1)}};
  script.script["one?"] = {"[SEG] [SEG] [SEG]", {columns(0, 3), columns(5, 1), BitMask(small)}};
  script.script["more?"] = {"none", {}};
  const Sample sample = sample_of({dialogue({{"two?", "[SEG], [SEG]."}}, {columns(0, 4), columns(3, 1)}),
                                   dialogue({{"one?", "[SEG]."}, {"more?", "[SEG]."}}, {columns(0, 3), columns(2, 2)}),
                                   dialogue({{"more?", "It is not there: [SEG]."}}, {BitMask(small)})});
  const SampleRecord record = evaluate_sample(script.functions(), sample, 0, {.teacher_forced = false});
  const auto result = [&](std::size_t d) { return *record.dialogues[d].find(Method::free_running); };
  CHECK(result(0).overlaps == std::vector<MaskOverlap>{{8, 16, 8}, {4, 4, 4}});
  CHECK(result(0).surplus.empty());
  CHECK(result(1).overlaps == std::vector<MaskOverlap>{{12, 12, 12}, {0, 8, 0}});
  CHECK(result(1).surplus == std::vector<MaskOverlap>{{4, 0, 0}});  // of the two, the empty one costs nothing
  CHECK(result(1).mask_counts == std::vector<std::size_t>{3, 0});
  CHECK(result(1).answers == std::vector<std::string>{"[SEG] [SEG] [SEG]", "none"});
  CHECK(overlap_iou(result(2).overlaps.at(0)) == 1.0);
  CHECK(result(2).masks.empty());
  CHECK(decode_rle(result(0).masks.at(0)) == columns(0, 2));
  CHECK(record.dialogues[0].find(Method::teacher_forced) == nullptr);
}

TEST_CASE("single questions share batches; several turns are one conversation, begun anew") {
  ScriptedModel script;
  std::vector<Dialogue> dialogues;
  for (int i = 0; i < 5; ++i) {
    const std::string question = "q" + std::to_string(i);
    script.script[question] = {"[SEG].", {columns(i, 1)}};
    dialogues.push_back(dialogue({{question, "[SEG]."}}, {columns(i, 1)}));
  }
  dialogues.insert(dialogues.begin() + 1,
                   dialogue({{"q3", "[SEG]."}, {"q4", "[SEG]."}}, {columns(3, 1), columns(4, 1)}));
  const SampleRecord record = evaluate_sample(script.functions(), sample_of(dialogues), 0, {.batch = 2});
  CHECK(script.log == std::vector<std::string>{"image", "read 2", "read 2", "read 2", "reset", "ask q3", "ask q4",
                                               "reset", "ask 2", "ask 2", "ask 1"});
  for (const DialogueRecord& each : record.dialogues)
    for (const Method method : {Method::teacher_forced, Method::free_running})
      for (const MaskOverlap& overlap : each.find(method)->overlaps) CHECK(overlap == MaskOverlap{4, 4, 4});
}

TEST_CASE("a turn that the model can no longer take gets an empty answer; a first turn is an error") {
  ScriptedModel script;
  script.script["first"] = {"[SEG].", {columns(0, 1)}};
  const std::vector<Exchange> turns{{"first", "[SEG]."}, {"unknown", "[SEG]."}, {"first", "Well."}};
  const Sample sample = sample_of({dialogue(turns, {columns(0, 1), columns(1, 1)})});
  const SampleRecord record = evaluate_sample(script.functions(), sample, 0, {.teacher_forced = false});
  const MethodResult& result = *record.dialogues[0].find(Method::free_running);
  CHECK(result.overlaps == std::vector<MaskOverlap>{{4, 4, 4}, {0, 4, 0}});
  CHECK(result.answers == std::vector<std::string>{"[SEG].", "", ""});
  const Sample hopeless = sample_of({dialogue({turns[1], turns[0]}, {columns(0, 1), columns(1, 1)})});
  CHECK_THROWS_AS((void)evaluate_sample(script.functions(), hopeless, 0, {.teacher_forced = false}), InputError);
}

TEST_CASE("baselines: the whole image always, objects where they are known, chance by sample alone") {
  const Sample sample =
      sample_of({dialogue({{"a", "[SEG]."}}, {columns(0, 2)}), dialogue({{"b", "[SEG]."}}, {columns(2, 4)})});
  EvaluationOptions options{.teacher_forced = false, .free_running = false};
  const SampleRecord plain = evaluate_sample({}, sample, 0, options);
  CHECK(plain.dialogues[0].results.size() == 1);
  CHECK(plain.dialogues[1].find(Method::whole_image)->overlaps == std::vector<MaskOverlap>{{24, 16, 16}});

  options.objects = [](const Sample&, std::size_t) { return std::vector{columns(0, 1), columns(2, 4), columns(1, 1)}; };
  std::set<std::int64_t> drawn;
  for (std::size_t index = 0; index < 40; ++index) {
    const SampleRecord record = evaluate_sample({}, sample, index, options);
    CHECK(record == evaluate_sample({}, sample, index, options));
    CHECK(record.dialogues[0].find(Method::largest_object)->overlaps == std::vector<MaskOverlap>{{16, 8, 0}});
    drawn.insert(record.dialogues[0].find(Method::random_object)->overlaps.at(0).intersection);
  }
  CHECK(drawn == std::set<std::int64_t>{0, 4});

  options.objects = [](const Sample&, std::size_t) { return std::vector<BitMask>{}; };
  const SampleRecord empty = evaluate_sample({}, sample, 0, options);
  CHECK(empty.dialogues[0].find(Method::largest_object)->overlaps == std::vector<MaskOverlap>{{0, 8, 0}});
}

TEST_CASE("a sample whose masks do not fit its dialogues is refused with all that is wrong") {
  ScriptedModel script;
  Sample sample = sample_of({dialogue({{"a", "[SEG]."}}, {}), dialogue({{"b", "No."}}, {columns(0, 1, {2, 2})})});
  try {
    (void)evaluate_sample(script.functions(), sample, 0);
    FAIL("not refused");
  } catch (const InputError& error) {
    const std::string words = error.what();
    CHECK(words.find("dialogue 0: found 0 masks, expected 1") != std::string::npos);
    CHECK(words.find("dialogue 1: found 1 masks, expected 0") != std::string::npos);
    CHECK(words.find("2x2") != std::string::npos);
  }
  CHECK(script.log.empty());
  CHECK_THROWS_AS((void)evaluate_sample(script.functions(), sample_of({}), 0, {.batch = 0}), InputError);
}

TEST_CASE("an unusable sample is reported and the others are evaluated") {
  ScriptedModel script;
  script.script["a"] = {"[SEG].", {columns(0, 1)}};
  const Sample good = sample_of({dialogue({{"a", "[SEG]."}}, {columns(0, 1)})});
  const DataSet data = data_set({good, sample_of({}), good});
  std::vector<std::size_t> recorded, failed, started;
  std::string words;
  EvaluationObserver observer;
  observer.on_start = [&](std::size_t index, std::size_t done) {
    CHECK(done == started.size());
    started.push_back(index);
  };
  observer.on_record = [&](const SampleRecord& record) { recorded.push_back(record.index); };
  observer.on_failure = [&](std::size_t index, const Error& error) {
    failed.push_back(index);
    words = error.what();
  };
  evaluate(script.functions(), data, std::vector<std::size_t>{0, 1, 2}, {}, observer);
  CHECK(started == std::vector<std::size_t>{0, 1, 2});
  CHECK(recorded == std::vector<std::size_t>{0, 2});
  CHECK(failed == std::vector<std::size_t>{1});
  CHECK(words.find("picture.png") != std::string::npos);
}

TEST_CASE("shards share the samples that are left without repeats") {
  CHECK(rc::check([] {
    const auto size = *rc::gen::inRange<std::size_t>(0, 200), count = *rc::gen::inRange<std::size_t>(1, 9);
    const auto known = *rc::gen::container<std::set<std::size_t>>(rc::gen::inRange<std::size_t>(0, 200));
    std::vector<std::size_t> all;
    for (std::size_t rank = 0; rank < count; ++rank)
      for (const std::size_t index :
           open_samples(size, {rank, count}, [&](std::size_t i) { return known.contains(i); }))
        all.push_back(index);
    std::ranges::sort(all);
    std::vector<std::size_t> expected;
    for (std::size_t i = 0; i < size; ++i)
      if (!known.contains(i)) expected.push_back(i);
    RC_ASSERT(all == expected);
  }));
  CHECK_THROWS_AS((void)open_samples(3, {2, 2}, [](std::size_t) { return false; }), InputError);
}

TEST_CASE("a record is read back as it was written") {
  CHECK(rc::check([] {
    const SampleRecord record = arbitrary_record(*rc::gen::inRange<std::size_t>(0, 1000));
    RC_ASSERT(parse_record(parse_json(record_json(record).dump(), "record")) == record);
  }));
}

TEST_CASE("broken records are refused by line, an unfinished last line is not") {
  const TempDir folder;
  const std::string good = record_json({.index = 3, .id = "x"}).dump();
  write_text(folder / "records.jsonl", good + "\n" + good.substr(0, 20));
  CHECK(read_records(folder.path()).size() == 1);
  const std::vector<std::string> bad{
      "{}",
      "[]",
      R"({"sample": "x", "index": -1, "dialogues": []})",
      R"({"sample": "x", "index": 1, "dialogues": [{"group": "", "exchanges": [], "results": {"magic": {}}}]})",
      R"({"sample":"x","index":1,"dialogues":[{"group":"","exchanges":[],"results":{"whole_image":{"overlaps":[[1,1,2]]}}}]})",
      R"({"sample":"x","index":1,"dialogues":[{"group":"","exchanges":[],"results":{"free_running":{"overlaps":[],"answers":["a"]}}}]})",
      R"({"sample":"x","index":1,"dialogues":[{"group":"","exchanges":[],"results":{"free_running":{"overlaps":[],"masks":[{"counts":"~","size":[2,2]}]}}}]})",
      "not JSON"};
  std::string text = good + "\n";
  for (const std::string& line : bad) text += line + "\n";
  write_text(folder / "records.jsonl", text);
  try {
    (void)read_records(folder.path());
    FAIL("not refused");
  } catch (const FormatError& error) {
    const std::string words = error.what();
    CHECK(words.find("8 broken records") != std::string::npos);
    for (std::size_t line = 2; line < bad.size() + 2; ++line)
      CHECK(words.find("line " + std::to_string(line) + ": ") != std::string::npos);
  }
}

TEST_CASE("a file cut at any byte loses the record in hand and nothing else") {
  const TempDir folder;
  std::string whole;
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < 4; ++i) {
    whole += record_json({.index = i, .id = "sample " + std::to_string(i)}).dump() + "\n";
    ends.push_back(whole.size());
  }
  const std::filesystem::path path = folder / "records.jsonl";
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    write_text(path, whole.substr(0, cut));
    const auto kept =
        static_cast<std::size_t>(std::ranges::count_if(ends, [&](std::size_t end) { return end <= cut; }));
    const SampleRecords records = read_records(folder.path());
    REQUIRE(records.size() == kept);
    RecordWriter writer(path);
    for (const std::size_t index : open_samples(4, {}, [&](std::size_t i) { return records.contains(i); }))
      writer.append({.index = index, .id = "sample " + std::to_string(index)});
    REQUIRE(read_text(path) == whole);
  }
}

TEST_CASE("records of several processes come together; a file has one writer") {
  const TempDir folder;
  {
    RecordWriter first(record_path(folder.path(), {0, 2})), second(record_path(folder.path(), {1, 2}));
    CHECK_THROWS_AS(RecordWriter(record_path(folder.path(), {0, 2})), IoError);
    first.append({.index = 2, .id = "c"});
    second.append({.index = 1, .id = "b"});
    first.append({.index = 0, .id = "a"});
  }
  RecordWriter(record_path(folder.path(), {})).append({.index = 1, .id = "b"});
  std::string order;
  for (const auto& [index, record] : read_records(folder.path())) order += record.id;
  CHECK(order == "abc");
  CHECK_THROWS_AS(RecordWriter(folder / "nowhere/records.jsonl"), IoError);
}

TEST_CASE("a summary scores every method, over all and by group") {
  ScriptedModel script;
  script.script["right"] = {"It is [SEG] .", {columns(0, 2)}};
  script.script["half"] = {"Sure, [SEG]", {columns(0, 1)}};
  script.script["absent"] = {"Sure.", {}};
  const DataSet data = data_set({sample_of({dialogue({{"right", "It is [SEG]."}}, {columns(0, 2)}, "name"),
                                            dialogue({{"half", "Sure, [SEG]."}}, {columns(0, 2)}, "fact")}),
                                 sample_of({dialogue({{"absent", "Sure, [SEG]."}}, {BitMask(small)}, "fact")})});
  SampleRecords records;
  EvaluationObserver observer;
  observer.on_record = [&](const SampleRecord& record) { records.emplace(record.index, record); };
  evaluate(script.functions(), data, std::vector<std::size_t>{0, 1}, {}, observer);
  const std::vector<MethodSummary> summaries = summarize(records);
  CHECK(summaries.size() == 9);

  const MethodSummary& all = find(summaries, Method::free_running);
  CHECK(all.images == 2);
  CHECK(all.dialogues == 3);
  CHECK(all.targets == 3);
  CHECK(all.exact->giou == doctest::Approx(2.5 / 3));
  CHECK(all.exact->ciou == doctest::Approx(0.75));
  CHECK(all.generalized->no_target_accuracy == 1.0);
  CHECK(all.generalized->target_accuracy == 1.0);
  CHECK(all.exact_answers->value == doctest::Approx(1.0 / 3));
  CHECK(all.mask_counts->value == doctest::Approx(2.0 / 3));
  CHECK(all.intervals->giou.low <= all.exact->giou);
  CHECK(all.intervals->giou.high >= all.exact->giou);

  const MethodSummary& name = find(summaries, Method::free_running, "name");
  CHECK(name.exact->giou == 1.0);
  CHECK(name.exact_answers->value == 1.0);
  CHECK_FALSE(name.generalized.has_value());
  CHECK(find(summaries, Method::whole_image).exact->giou == doctest::Approx(2.0 / 3 / 3));
  CHECK_FALSE(find(summaries, Method::teacher_forced).exact_answers.has_value());

  const Json json = summaries_json(summaries);
  CHECK(json.size() == summaries.size());
  CHECK(json[0].at("group").is_null());
  CHECK(json[0].at("giou").get<double>() == find(summaries, Method::teacher_forced).exact->giou);
  for (const ScoreRule rule : {ScoreRule::exact, ScoreRule::original}) {
    const auto table = summary_table(summaries, rule);
    REQUIRE(table.size() == summaries.size() + 1);
    for (const auto& row : table) CHECK(row.size() == table.front().size());
  }
}

TEST_CASE("a summary of nothing, and of text alone, has no scores") {
  CHECK(summarize({}).empty());
  ScriptedModel script;
  script.script["why?"] = {"Because.", {}};
  SampleRecords records;
  records.emplace(0, evaluate_sample(script.functions(), sample_of({dialogue({{"why?", "Because."}}, {})}), 0));
  const std::vector<MethodSummary> summaries = summarize(records);
  CHECK_FALSE(find(summaries, Method::free_running).exact.has_value());
  CHECK(find(summaries, Method::free_running).exact_answers->value == 1.0);
  CHECK(find(summaries, Method::free_running).mask_counts->value == 1.0);
  CHECK(summary_table(summaries).size() == summaries.size() + 1);
}

TEST_CASE("answers are compared without the blanks that decoding puts around [SEG]") {
  CHECK(normalized_answer("It is [SEG] .") == normalized_answer("It is [SEG]."));
  CHECK(normalized_answer("  [SEG] and\n [SEG] ") == normalized_answer("[SEG] and [SEG]"));
  CHECK(normalized_answer("It is.") == "It is.");
  CHECK(normalized_answer("It  is") == "It is");
  CHECK(normalized_answer("it is") != normalized_answer("itis"));
  CHECK(normalized_answer("[SEG] a") != normalized_answer("[SEG] b"));
}
