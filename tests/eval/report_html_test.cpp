// torch-free
#include "lisa/eval/report_html.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/eval/evaluator.hpp"
#include "lisa/image/read_image.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace lisa;

/// Records whose free-running dialogues have the given IoU in percent, each in a sample of its own.
SampleRecords records_of(const std::vector<int>& percents) {
  SampleRecords records;
  for (std::size_t i = 0; i < percents.size(); ++i) {
    MethodResult result{.method = Method::free_running, .overlaps = {{percents[i], 100, percents[i]}}};
    records[i] = {.index = i, .id = "s", .dialogues = {{.exchanges = {{"q", "[SEG]"}}, .results = {result}}}};
  }
  return records;
}

std::vector<std::size_t> indices(const ReportSection& section) {
  std::vector<std::size_t> found;
  for (const ReportExample& example : section.examples) found.push_back(example.index);
  return found;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// Bytes of base64, the slow way.
std::string from_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<std::uint32_t>(std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
                                                                   "yz0123456789+/")
                                                      .find(c));
    if ((held += 6) >= 8) bytes += static_cast<char>(bits >> (held -= 8));
  }
  return bytes;
}

}  // namespace

TEST_CASE("examples are the best, the middle and the worst") {
  const auto sections = choose_examples(records_of({50, 90, 10, 70, 30, 70}), Method::free_running, 2);
  REQUIRE(sections.size() == 3);
  CHECK(indices(sections[0]) == std::vector<std::size_t>{1, 3});
  CHECK(indices(sections[1]) == std::vector<std::size_t>{0, 4});
  CHECK(indices(sections[2]) == std::vector<std::size_t>{2, 4});
  CHECK(sections[0].examples[0].iou == 0.9);
  for (const auto& section : choose_examples(records_of({50}), Method::free_running, 3))
    CHECK(indices(section) == std::vector<std::size_t>{0});
  for (const auto& section : choose_examples(records_of({50}), Method::teacher_forced, 3))
    CHECK(section.examples.empty());
}

TEST_CASE("a sample comes again only where no other is left; surplus masks count") {
  SampleRecords records = records_of({50, 40});
  DialogueRecord better = records[0].dialogues[0];
  better.results[0].overlaps = {{80, 100, 80}};
  records[0].dialogues.push_back(better);
  const auto sections = choose_examples(records, Method::free_running, 3);
  CHECK(sections[0].examples == std::vector<ReportExample>{{0, 1, 0.8}, {1, 0, 0.4}, {0, 0, 0.5}});
  records[0].dialogues[1].results[0].surplus = {{.predicted = 7}};
  CHECK(choose_examples(records, Method::free_running, 1)[0].examples[0] == ReportExample{0, 0, 0.5});
}

TEST_CASE("a report holds table, words and pictures, and nothing that it would have to load") {
  Sample sample{"set|<1>", make_image({40, 60}), {}};
  BitMask mask({40, 60});
  for (int x = 10; x < 30; ++x) mask.set(x, 20);
  sample.dialogues.push_back({{{"Where is \"a\" & <b>?", "It is [SEG]."}}, {{mask.size(), mask_bytes(mask)}}, "fact"});
  EvaluatedModel model;
  model.set_image = [](const Image&) {};
  model.ask_each = [&](const std::vector<std::string>&) {
    return std::vector<SpokenAnswer>{{"<script>alert(1)</script>\x1b [SEG]", {mask}}};
  };
  SampleRecords records;
  records[0] = evaluate_sample(model, sample, 0, {.teacher_forced = false});
  Report report{.title = "A & B",
                .facts = {{"model", "x<y"}, {"set", "val"}},
                .summaries = summarize(records),
                .sections = choose_examples(records, Method::free_running, 4)};
  const std::string html = report_html(report, records, [&](std::size_t) { return sample; });
  CHECK(html.starts_with("<!DOCTYPE html>"));
  CHECK(html.ends_with("</html>\n"));
  CHECK(html.find("<title>A &amp; B</title>") != std::string::npos);
  CHECK(html.find("model x&lt;y") != std::string::npos);
  CHECK(html.find("Where is &quot;a&quot; &amp; &lt;b&gt;?") != std::string::npos);
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find('\x1b') == std::string::npos);
  CHECK(html.find("100.0 [100.0, 100.0]") != std::string::npos);
  CHECK(html.find("prefers-color-scheme: dark") != std::string::npos);
  for (const char* outside : {"http:", "https:", "src=\"/", "@import", "url("})
    CHECK(html.find(outside) == std::string::npos);
  CHECK(count(html, "<article>") == 3);
  CHECK(count(html, "<img") == 6);
  CHECK(count(html, "<img") == count(html, "src=\"data:image/png;base64,"));

  const std::string_view start = "base64,";
  const std::size_t begin = html.find(start) + start.size();
  const lisa::test::TempDir folder;
  lisa::test::write_text(folder / "picture.png", from_base64(html.substr(begin, html.find('"', begin) - begin)));
  const Image picture = read_image(folder / "picture.png");
  CHECK(picture.width >= 300);  // a small picture is enlarged
  CHECK(picture.height > 200);
}

TEST_CASE("base64 as the test vectors of RFC 4648 have it") {
  const auto encoded = [](std::string_view text) {
    return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foob") == "Zm9vYg==");
  CHECK(encoded("fooba") == "Zm9vYmE=");
  CHECK(encoded("foobar") == "Zm9vYmFy");
}
