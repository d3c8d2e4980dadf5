// torch-free
#include "lisa/data/json_lines.hpp"

#include <rapidcheck.h>

#include <string>
#include <vector>

#include "lisa/image/write_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/random_mask.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

struct Row {
  std::string id;
  std::string content;
  std::vector<std::string> words;
};

Sample first_sample(const fs::path& file) {
  Random random{1};
  return json_lines_data_set(file).read(0, random);
}

}  // namespace

TEST_CASE("a line holds an image, questions, answers and masks in any form") {
  const test::TempDir folder;
  fs::create_directories(folder / "pictures");
  write_png(folder / "pictures" / "desk.png", make_image({3, 4}));
  BitMask file_mask({3, 4});
  file_mask.set(3, 2);
  write_png(folder / "cup.png", file_mask);
  test::write_text(folder / "own.jsonl",
                   "\xEF\xBB\xBF"
                   R"({"image": "pictures/desk.png", "question": "Where?", "answer": "It is [SEG].", )"
                   R"("masks": [[[0, 0, 2, 0, 2, 1, 0, 1]]], "group": "reasoning"})"
                   "\r\n\n"
                   R"({"image": "pictures/desk.png", "id": "two", "dialogues": [
                        {"turns": [{"question": "The cup?", "answer": "[SEG]."},
                                   {"question": "Beside [SEG]?", "answer": "[SEG] and [SEG]."}],
                         "masks": ["cup.png", {"size": [3, 4], "counts": "048"}, [],
                                   {"foreground": {"size": [3, 4], "counts": [0, 12]}, "ignored": "cup.png"}]},
                        {"question": "Hello?", "answer": "A desk."}]})");
  // A record is one line: the second one is not.
  CHECK(test::broken_promises({.row = "134", .kind = ErrorKind::format, .file = "own.jsonl", .words = {"line 3"}},
                              [&] { static_cast<void>(read_json_lines(folder / "own.jsonl")); }) == "");
  std::string text = test::read_text(folder / "own.jsonl");
  const std::size_t second = text.find("{\"image\"", 20);
  std::string line = text.substr(second);
  std::erase(line, '\n');
  test::write_text(folder / "own.jsonl", text.substr(0, second) + line);

  const DataSet set = json_lines_data_set(folder / "own.jsonl");
  REQUIRE(set.size == 2);
  CHECK(set.name == "own.jsonl");
  Random random{1};
  const Sample one = set.read(0, random), two = set.read(1, random);
  CHECK(one.id == "own.jsonl|pictures/desk.png");
  CHECK(one.image.size() == ImageSize{3, 4});
  REQUIRE(one.dialogues.size() == 1);
  CHECK(one.dialogues[0].exchanges == std::vector<Exchange>{{"Where?", "It is [SEG]."}});
  CHECK(one.dialogues[0].group == "reasoning");
  CHECK(one.dialogues[0].masks.at(0).labels == std::vector<std::uint8_t>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(two.id == "own.jsonl|two");
  REQUIRE(two.dialogues.size() == 2);
  CHECK(two.dialogues[0].exchanges.size() == 2);
  REQUIRE(two.dialogues[0].masks.size() == 4);
  CHECK(two.dialogues[0].masks[0] == label_mask(file_mask));
  CHECK(two.dialogues[0].masks[1].labels == std::vector<std::uint8_t>{1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0});
  CHECK(is_empty(two.dialogues[0].masks[2]));
  CHECK(two.dialogues[0].masks[3].labels == std::vector<std::uint8_t>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 255});
  CHECK(two.dialogues[1].masks.empty());
}

TEST_CASE("what is written is read back") {
  const test::TempDir folder;
  CHECK(rc::check([&] {
    const BitMask first = test::random_mask(40);
    Sample sample{"kitchen |\"7\"\n", make_image(first.size()), {}};
    const auto random_labels = [&] {
      LabelMask mask = label_mask(first);
      for (std::uint8_t& label : mask.labels)
        if (*rc::gen::inRange(0, 4) == 0) label = *rc::gen::element<std::uint8_t>(0, 1, 255);
      return mask;
    };
    const int dialogues = *rc::gen::inRange(1, 4);
    for (int d = 0; d < dialogues; ++d) {
      Dialogue dialogue;
      const int turns = *rc::gen::inRange(1, 4);
      for (int t = 0; t < turns; ++t) {
        dialogue.exchanges.push_back({"Was ist \"d\xC3\xA4s\"?\t" + std::to_string(t), "No."});
        if (!*rc::gen::arbitrary<bool>()) continue;
        dialogue.exchanges.back().answer = "[SEG], \\ [SEG].";
        dialogue.masks.push_back(label_mask(first));
        dialogue.masks.push_back(random_labels());
      }
      if (*rc::gen::arbitrary<bool>()) dialogue.group = "multi_turn";
      sample.dialogues.push_back(std::move(dialogue));
    }
    write_png(folder / "a.png", sample.image);
    JsonLinesWriter writer(folder / "out.jsonl");
    writer.add(image_record(sample, "a.png"));
    writer.commit();
    const Sample back = first_sample(folder / "out.jsonl");
    RC_ASSERT(back.id == "out.jsonl|" + sample.id);
    RC_ASSERT(back.image == sample.image);
    RC_ASSERT(back.dialogues.size() == sample.dialogues.size());
    for (std::size_t d = 0; d < sample.dialogues.size(); ++d) {
      RC_ASSERT(back.dialogues[d].exchanges == sample.dialogues[d].exchanges);
      RC_ASSERT(back.dialogues[d].masks == sample.dialogues[d].masks);
      RC_ASSERT(back.dialogues[d].group == sample.dialogues[d].group);
    }
  }));
}

TEST_CASE("what was read is written back as it was") {
  const test::TempDir folder;
  const std::string text =
      R"({"image":"a.png","group":"x","question":"?","answer":"[SEG]","masks":[[[0.0,0.5,2.0,0.0,2.0,1.0]]]})"
      "\n"
      R"({"image":"a.png","id":"b","question":"?","answer":"[SEG] [SEG]","masks":["m.png",)"
      R"({"foreground":[],"ignored":"i.png"}]})"
      "\n";
  test::write_text(folder / "in.jsonl", text);
  JsonLinesWriter writer(folder / "out.jsonl");
  for (const ImageRecord& record : read_json_lines(folder / "in.jsonl").records) writer.add(record);
  CHECK_FALSE(fs::exists(folder / "out.jsonl"));
  writer.commit();
  CHECK(test::read_text(folder / "out.jsonl") == text);
  CHECK(test::broken_promises({.row = "text", .kind = ErrorKind::input, .words = {"UTF-8"}}, [] {
          static_cast<void>(record_line({"a.png", "a.png", {{{{"\xFF", "a"}}, {}, {}}}, 1}));
        }) == "");
}

TEST_CASE("wrong lines are refused with line, image and every defect") {
  const std::string head = R"({"image": "a.png", "question": "Where?", )";
  const auto mask = [&](const std::string& value) { return head + R"("answer": "[SEG]", "masks": [)" + value + "]}"; };
  const std::vector<Row> rows{
      {"132", "", {"line 1", "no line"}},
      {"134", "{", {"line 1 byte 2"}},
      {"134", "\n\n[1, 2", {"line 3 byte"}},
      {"134", "[]", {"line 1", "an array"}},
      {"134", head + R"("answer": "a", "answer": "b"})", {"line 1", "twice"}},
      {"134", "\xFF", {"line 1"}},
      {"H", R"({"question": "a", "answer": "b"})", {"image", "missing"}},
      {"H", R"({"image": 5, "question": "a", "answer": "b"})", {"image", "the number 5"}},
      {"141", R"({"image": "a.png", "question": " ", "answer": "b"})", {"(\"a.png\") question", "no text"}},
      {"141", R"({"image": "a.png", "answer": "b"})", {"question", "missing"}},
      {"H", head + R"("answer": ""})", {"answer", "no text"}},
      {"136", head + R"("answer": "<image>"})", {"answer", "<image>"}},
      {"137", R"({"image": "a.png", "question": "Is <image> it?", "answer": "b"})", {"question", "<image>"}},
      {"139", head + R"("answer": "[SEG]"})", {"0 masks", "1, one per [SEG]"}},
      {"139", head + R"("answer": "b", "masks": [[]]})", {"1 masks", "0, one per"}},
      {"H", head + R"("answer": "b", "mask": []})", {"mask", "unknown", "masks"}},
      {"H", head + R"("answer": "b", "masks": {}})", {"masks", "an object"}},
      {"H", head + R"("answer": "b", "group": 5})", {"group", "the number 5"}},
      {"H", head + R"("answer": "b", "turns": []})", {"turns", "one of the two"}},
      {"H", R"({"image": "a.png", "turns": []})", {"turns", "none"}},
      {"H", R"({"image": "a.png", "turns": [5]})", {"turns[0]", "the number 5"}},
      {"H", R"({"image": "a.png", "turns": [{"question": "a"}]})", {"turns[0].answer", "missing"}},
      {"H", R"({"image": "a.png", "dialogues": []})", {"dialogues", "none"}},
      {"H", R"({"image": "a.png", "dialogues": [5]})", {"dialogues[0]", "the number 5"}},
      {"H", R"({"image": "a.png", "dialogues": [{"question": "a", "answer": "[SEG]"}]})", {"dialogues[0].masks"}},
      {"118", mask("[[]]"), {"masks[0][0]", "without points"}},
      {"118", mask("5"), {"masks[0]", "the number 5"}},
      {"119", mask("[[0, 0, 1, 1]]"), {"masks[0]", "one or two points"}},
      {"121", mask("[[0, 0, 1, 1, 1e9, 0]]"), {"masks[0][0]", "-1e8"}},
      {"123", mask(R"({"size": [3, 4], "counts": [1, 2]})"), {"masks[0]", "3 pixels in all"}},
      {"124", mask(R"({"size": [3, 4], "counts": "o"})"), {"masks[0]", "the end of the counts"}},
      {"H", mask("\"\""), {"masks[0]", "empty path"}},
      {"H", mask(R"({"foreground": [], "ignore": []})"), {"masks[0].ignore", "unknown"}},
      {"H", mask(R"({"foreground": 5})"), {"masks[0].foreground", "the number 5"}},
  };
  const test::TempDir folder;
  for (const Row& row : rows) {
    test::write_text(folder / "own.jsonl", row.content);
    CHECK(test::broken_promises({.row = row.id + " " + row.content,
                                 .kind = ErrorKind::format,
                                 .file = "own.jsonl",
                                 .words = row.words,
                                 .unchanged = folder.path()},
                                [&] { static_cast<void>(read_json_lines(folder / "own.jsonl")); }) == "");
  }
  test::write_text(folder / "own.jsonl", mask("5") + "\n" + head + "\n" + mask("[[]]"));
  CHECK(test::broken_promises({.row = "all", .file = "own.jsonl", .words = {"3 defects", "line 1", "line 2", "line 3"}},
                              [&] { static_cast<void>(read_json_lines(folder / "own.jsonl")); }) == "");
}

TEST_CASE("images and masks that do not fit are named when they are read") {
  const test::TempDir folder;
  write_png(folder / "a.png", make_image({3, 4}));
  write_png(folder / "wrong.png", BitMask({4, 4}));
  const auto refused = [&](const std::string& image, const std::string& mask, ErrorKind kind,
                           const std::vector<std::string>& words) {
    test::write_text(folder / "own.jsonl", R"({"image": ")" + image + R"(", "question": "a", "answer": "[SEG]", )" +
                                               R"("masks": [)" + mask + "]}");
    return test::broken_promises({.row = "125", .kind = kind, .words = words},
                                 [&] { static_cast<void>(first_sample(folder / "own.jsonl")); });
  };
  CHECK(refused("none.png", "[]", ErrorKind::io, {"none.png"}) == "");
  CHECK(refused("own.jsonl", "[]", ErrorKind::format, {"own.jsonl"}) == "");
  CHECK(refused("a.png", R"("none.png")", ErrorKind::io, {"none.png"}) == "");
  CHECK(refused("a.png", R"("wrong.png")", ErrorKind::mismatch, {"wrong.png", "own.jsonl", "line 1", "4x4", "4x3"}) ==
        "");
  CHECK(refused("a.png", R"({"size": [4, 3], "counts": [12]})", ErrorKind::mismatch,
                {"own.jsonl", "line 1", "dialogue 1 mask 1", "3x4", "4x3"}) == "");
}

TEST_CASE("the page about data shows lines that can be read") {
  const std::string page = test::read_text(LISA_TEST_DATA "/../docs/data.md");
  const std::string fence = "```jsonl\n";
  const std::size_t begin = page.find(fence) + fence.size();
  const test::TempDir folder;
  test::write_text(folder / "own.jsonl", page.substr(begin, page.find("```", begin) - begin));
  const ImageRecords lines = read_json_lines(folder / "own.jsonl");
  REQUIRE(lines.records.size() == 4);
  CHECK(lines.records[1].dialogues.size() == 2);
}
