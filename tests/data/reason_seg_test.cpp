// torch-free
#include "lisa/data/reason_seg.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "lisa/image/write_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

const std::string golden = LISA_TEST_DATA "/golden/units/reasonseg/";

/// ReasonSeg's folders under `base`; the pictures are PNG by content, which readers tell by content too.
void add_image(const fs::path& base, const std::string& split, const std::string& stem, const std::string& annotation) {
  const fs::path folder = base / "reason_seg" / "ReasonSeg" / split;
  fs::create_directories(folder);
  write_png(folder / (stem + ".jpg"), make_image({6, 8}));
  test::write_text(folder / (stem + ".json"), annotation);
}

void add_explanations(const fs::path& base, const std::string& content) {
  fs::create_directories(base / "reason_seg" / "ReasonSeg" / "explanatory");
  test::write_text(base / "reason_seg" / "ReasonSeg" / "explanatory" / "train.json", content);
}

constexpr const char* one_square =
    R"({"text": ["What Is it?", "and this", "third", "fourth"], "is_sentence": true,
        "shapes": [{"label": "target", "points": [[1.9, 1.2], [3, 1], [3, 3], [1, 3]]},
                   {"label": "Ignore this", "points": [[5, 4]]}, {"label": "Flag", "points": []}]})";

std::vector<std::uint8_t> square_labels(std::uint8_t ignored) {
  std::vector<std::uint8_t> labels(48);
  for (const int y : {1, 2, 3})
    for (const int x : {1, 2, 3}) labels[static_cast<std::size_t>(y * 8 + x)] = 1;
  labels[4 * 8 + 5] = ignored;
  return labels;
}

}  // namespace

TEST_CASE("masks are those of the original") {
  const nlohmann::json index = nlohmann::json::parse(std::ifstream(golden + "index.json"));
  REQUIRE(index.at("rows").size() == 4);
  for (const auto& row : index.at("rows")) {
    const std::string name = row.at("name").get<std::string>();
    CAPTURE(name);
    const ReasonSegAnnotation annotation =
        parse_reason_seg(test::read_text(golden + name + ".json"), golden + name + ".json");
    CHECK(annotation.texts == row.at("text").get<std::vector<std::string>>());
    CHECK(annotation.is_sentence == row.at("is_sentence").get<bool>());
    const LabelMap expected = read_label_map(golden + name + "_mask.png");
    const LabelMask mask = reason_seg_mask(annotation, expected.size);
    CHECK(mask.size == expected.size);
    CHECK(mask.labels == expected.labels);
  }
}

TEST_CASE("of two outlines with the same area the earlier one lies on top") {
  const auto labels = [](const std::string& shapes) {
    const std::string text = R"({"text": ["a"], "is_sentence": false, "shapes": [)" + shapes + "]}";
    return reason_seg_mask(parse_reason_seg(text, "a.json"), {4, 4}).labels;
  };
  const std::string target = R"({"label": "target", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]})";
  const std::string ignored = R"({"label": "ignore", "points": [[1, 0], [2, 0], [2, 1], [1, 1]]})";
  CHECK(labels(target + "," + ignored)[1] == 1);
  CHECK(labels(ignored + "," + target)[1] == 255);
}

TEST_CASE("validation asks the first wording and keeps ignored pixels") {
  const test::TempDir base;
  add_image(base.path(), "val", "b.jpg.x", one_square);
  add_image(base.path(), "val", "a", R"({"text": [" Caf\u00e9 "], "is_sentence": false, "shapes": []})");
  const OpenedDataSet opened = reason_seg_evaluation(base.path(), "ReasonSeg|val");
  CHECK(opened.warnings.empty());
  REQUIRE(opened.data_set.size == 2);
  Random random{1};
  const Sample first = opened.data_set.read(0, random), second = opened.data_set.read(1, random);
  CHECK(first.id == "ReasonSeg|val|a.jpg");
  REQUIRE(first.dialogues.size() == 1);
  CHECK(first.dialogues[0].exchanges ==
        std::vector<Exchange>{{"What is Café in this image? Please output segmentation mask.", "[SEG]."}});
  CHECK(first.dialogues[0].group == "short");
  CHECK(is_empty(first.dialogues[0].masks.at(0)));
  CHECK(second.dialogues[0].exchanges ==
        std::vector<Exchange>{{"What Is it? Please output segmentation mask.", "[SEG]."}});
  CHECK(second.dialogues[0].group == "long");
  CHECK(second.dialogues[0].masks.at(0).labels == square_labels(255));
}

TEST_CASE("training asks up to three wordings, with LISA's templates and explanations") {
  const test::TempDir base;
  add_image(base.path(), "train", "plain", one_square);
  add_image(base.path(), "train", "told", one_square);
  add_image(base.path(), "val", "other", R"({"text": ["The Cup"], "is_sentence": false, "shapes": []})");
  add_explanations(base.path(), R"([{"image": "told.jpg", "query": "?", "outputs": "Because it is warm."}])");
  const DataSet set = reason_seg_training(base.path(), "ReasonSeg|train_val").data_set;
  REQUIRE(set.size == 3);
  std::map<std::string, int> kinds;
  std::set<std::string> wordings;
  for (std::uint64_t draw = 0; draw < 2000; ++draw) {
    Random random{1, draw};
    const Sample sample = set.read(draw % 3, random);
    REQUIRE(sample.dialogues.size() == (draw % 3 == 2 ? 1 : 3));
    std::set<std::string> asked;
    for (const Dialogue& dialogue : sample.dialogues) {
      REQUIRE(dialogue.exchanges.size() == 1);
      const auto& [question, answer] = dialogue.exchanges[0];
      asked.insert(question.substr(0, 5));
      wordings.insert(question);
      const bool explains = answer.ends_with("Because it is warm.");
      if (draw % 3 == 2) CHECK(question.find("the cup") != std::string::npos);
      if (draw % 3 != 1) CHECK_FALSE(explains);
      if (draw % 3 == 1) ++kinds[!explains ? "mask" : dialogue.masks.empty() ? "words" : "both"];
      CHECK((dialogue.masks.size() == 1) == (answer.find("[SEG]") != std::string::npos));
      if (explains && !dialogue.masks.empty()) CHECK(question.find("explain") + question.find("explanation") != 0);
      if (!dialogue.masks.empty() && draw % 3 != 2) CHECK(dialogue.masks[0].labels == square_labels(0));
    }
    CHECK(asked.size() == sample.dialogues.size());  // without repetition
  }
  CHECK(kinds["words"] > 2000 * 0.05);
  CHECK(kinds["words"] < 2000 * 0.15);
  CHECK(kinds["mask"] > 2000 * 0.35);
  CHECK(kinds["both"] > 2000 * 0.35);
  // 4 texts x (2 requests + 3 for explanations + none), 4 wordings of the phrase.
  CHECK(wordings.size() == 4 * 6 + 4);

  const DataSet plain = reason_seg_training(base.path(), "ReasonSeg|train",
                                            {.questions = 1, .explanatory = {}, .ignored_is_background = false})
                            .data_set;
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    Random random{2, draw};
    const Sample sample = plain.read(1, random);
    REQUIRE(sample.dialogues.size() == 1);

    CHECK(sample.dialogues[0].exchanges[0].answer.find("warm") == std::string::npos);
    CHECK(sample.dialogues[0].masks.at(0).labels == square_labels(255));
  }
}

TEST_CASE("annotations in Windows-1252 and with a byte order mark are read") {
  const std::string head = "{\"text\": [\"caf\xE9 \x80 \x93\"], \"is_sentence\": false, \"shapes\": []}";
  CHECK(parse_reason_seg(head, "a.json").texts[0] == "café € “");
  CHECK(parse_reason_seg("\xEF\xBB\xBF"
                         R"({"text": ["é"], "is_sentence": false, "shapes": []})",
                         "a.json")
            .texts[0] == "é");
}

TEST_CASE("broken annotations are refused with all of their defects") {
  struct Row {
    std::string id, content;
    std::vector<std::string> words;
  };
  const auto with = [](const std::string& text, const std::string& sentence, const std::string& shapes) {
    return "{" + text + sentence + "\"shapes\": " + shapes + "}";
  };
  const std::string text = R"("text": ["a"], )", phrase = R"("is_sentence": false, )";
  const auto shape = [&](const std::string& points) {
    return with(text, phrase, R"([{"label": "target", "points": )" + points + "}]");
  };
  const std::vector<Row> rows{
      {"128", with("", phrase, "[]"), {"text", "missing"}},
      {"128", with(R"("text": [], )", phrase, "[]"), {"text", "none"}},
      {"128", with(R"("text": "a", )", phrase, "[]"), {"text", "the string"}},
      {"128", with(R"("text": ["a", " "], )", phrase, "[]"), {"text[1]", "no text"}},
      {"128", with(R"("text": [7], )", phrase, "[]"), {"text[0]", "the number 7"}},
      {"128", with(text, "", "[]"), {"is_sentence", "missing"}},
      {"128", with(text, R"("is_sentence": 1, )", "[]"), {"is_sentence", "true or false"}},
      {"129", "{" + text + R"("is_sentence": false})", {"shapes", "missing"}},
      {"129", with(text, phrase, "{}"), {"shapes", "an object"}},
      {"129", with(text, phrase, "[{\"points\": [[1, 2]]}]"), {"shapes[0].label", "missing"}},
      {"129", with(text, phrase, R"([{"label": "target"}])"), {"shapes[0].points", "missing"}},
      {"119", shape("[]"), {"points", "at least one"}},
      {"121", shape("[[1, 2], [1e9, 3]]"), {"points[1]", "1e6"}},
      {"121", shape("[[1, 2], [-2147483648, 3]]"), {"points[1]"}},
      {"122", shape(R"([["1", 2]])"), {"points[0]"}},
      {"122", shape("[[1, 2, 3]]"), {"points[0]"}},
      {"130", "{\"text\": [\"a\x81\"], \"is_sentence\": false, \"shapes\": []}", {"byte 13", "Windows-1252"}},
      {"134", shape("[[1e999, 2]]"), {"line 1"}},
      {"134", R"({"text": ["a"], "text": ["b"], "is_sentence": false, "shapes": []})", {"twice"}},
      {"134", R"({"text": ["\ud800"], "is_sentence": false, "shapes": []})", {"surrogate"}},
      {"128", "{}", {"3 defects", "text", "is_sentence", "shapes"}},
      {"128", "[]", {"an array"}},
  };
  for (const Row& row : rows)
    CHECK(test::broken_promises(
              {.row = row.id + " " + row.content, .kind = ErrorKind::format, .file = "a.json", .words = row.words},
              [&] { static_cast<void>(parse_reason_seg(row.content, "a.json")); }) == "");
}

TEST_CASE("folders with missing or unmatched files are reported whole") {
  const test::TempDir base;
  const auto open = [&](const std::string& name) {
    return [&, name] { static_cast<void>(reason_seg_evaluation(base.path(), name)); };
  };
  CHECK(test::broken_promises({.row = "132", .kind = ErrorKind::io, .words = {"ReasonSeg/val"}},
                              open("ReasonSeg|val")) == "");
  CHECK(test::broken_promises({.row = "132", .kind = ErrorKind::input, .words = {"FOLDER|SPLIT"}}, open("ReasonSeg")) ==
        "");
  CHECK(test::broken_promises({.row = "132", .kind = ErrorKind::input, .words = {"FOLDER|SPLIT"}}, open("R|../x")) ==
        "");
  add_image(base.path(), "val", "a", "{}");
  add_image(base.path(), "val", "b", "[");
  add_image(base.path(), "val", "c", one_square);
  const fs::path folder = base / "reason_seg" / "ReasonSeg" / "val";
  fs::rename(folder / "c.json", folder / "alone.json");
  CHECK(test::broken_promises({.row = "131",
                               .kind = ErrorKind::format,
                               .words = {"3 defects", "a.json", "b.json", "c.jpg: found no annotation"}},
                              open("ReasonSeg|val")) == "");
  for (const char* name : {"a", "b", "c"}) add_image(base.path(), "val", name, one_square);
  const OpenedDataSet opened = reason_seg_evaluation(base.path(), "ReasonSeg|val");
  CHECK(opened.data_set.size == 3);
  REQUIRE(opened.warnings.size() == 1);
  CHECK(opened.warnings[0].find("alone.json: found no picture") != std::string::npos);
  fs::create_directories(base / "reason_seg" / "ReasonSeg" / "empty");
  CHECK(test::broken_promises({.row = "132", .kind = ErrorKind::format, .words = {"no picture"}},
                              open("ReasonSeg|empty")) == "");

  const auto train = [&] { static_cast<void>(reason_seg_training(base.path(), "ReasonSeg|val")); };
  CHECK(test::broken_promises({.row = "131", .kind = ErrorKind::io, .words = {"train.json"}}, train) == "");
  for (const char* content : {"{}", "5", "[5]", R"([{"image": "a.jpg", "outputs": ""}])", R"([{"image": "a.jpg"}])",
                              R"([{"image": "a.jpg", "outputs": "It is [SEG]."}])"}) {
    add_explanations(base.path(), content);
    CHECK(test::broken_promises({.row = content, .kind = ErrorKind::format, .words = {"train.json"}}, train) == "");
  }
}

TEST_CASE("no cut and no flipped bit of an annotation does more than be refused") {
  const std::string good = one_square;
  const auto read = [](const std::string& content) {
    try {
      static_cast<void>(reason_seg_mask(parse_reason_seg(content, "a.json"), {6, 8}));
    } catch (const Error& error) {
      CHECK(std::string(error.what()).rfind("a.json", 0) == 0);
      return false;
    }
    return true;
  };
  CHECK(read(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) CHECK_FALSE(read(good.substr(0, cut)));
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      static_cast<void>(read(changed));  // must end, with or without an error
    }
}
