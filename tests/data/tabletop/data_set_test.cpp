// torch-free
#include "lisa/data/tabletop/data_set.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::tabletop;

namespace {

/// Every group, alike.
std::vector<TabletopShare> all_shares() {
  std::vector<TabletopShare> shares;
  for (const std::string_view name : group_names) shares.push_back({group_of(name), 1});
  return shares;
}

TabletopSettings every_group(TabletopSplit split, std::uint64_t seed) {
  TabletopSettings settings;
  settings.split = split;
  settings.seed = seed;
  settings.questions = 6;
  settings.shares = split == TabletopSplit::combinations ? tabletop_mask_shares() : all_shares();
  return settings;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++found;
  return found;
}

std::size_t asked_masks(const Dialogue& dialogue) {
  return std::accumulate(
      dialogue.exchanges.begin(), dialogue.exchanges.end(), std::size_t{0},
      [](std::size_t sum, const Exchange& exchange) { return sum + count(exchange.answer, "[SEG]"); });
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0)
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

bool has_word(std::string_view text, std::string_view word) {
  const std::vector<std::string> words = words_of(text);
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Every color and kind that stand side by side in a text, as the index color * kinds + kind.
std::set<std::size_t> combinations_in(std::string_view text) {
  std::set<std::size_t> found;
  for (std::size_t color = 0; color < colors.size(); ++color)
    for (std::size_t kind = 0; kind < kinds.size(); ++kind)
      if (text.find(std::string(colors[color].name) + " " + std::string(kinds[kind].name)) != std::string_view::npos)
        found.insert(color * kinds.size() + kind);
  return found;
}

const std::vector<TabletopSplit> splits{TabletopSplit::train, TabletopSplit::scenes, TabletopSplit::combinations,
                                        TabletopSplit::paraphrases};

}  // namespace

TEST_CASE("tabletop: a sample is a function of settings and index alone") {
  rc::check([] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto index = *rc::gen::inRange<std::size_t>(0, 100'000);
    const DataSet set = tabletop_data_set(every_group(*rc::gen::elementOf(splits), seed));
    Random first{1}, second{2};
    const Sample a = set.read(index, first), b = set.read(index, second);
    RC_ASSERT(a.id == b.id);
    RC_ASSERT(a.image == b.image);
    RC_ASSERT(a.dialogues.size() == b.dialogues.size());
    for (std::size_t i = 0; i < a.dialogues.size(); ++i) {
      RC_ASSERT(a.dialogues[i].exchanges == b.dialogues[i].exchanges);
      RC_ASSERT(a.dialogues[i].masks == b.dialogues[i].masks);
    }
    RC_ASSERT(set.read(index + 1, first).image != a.image);
  });
}

TEST_CASE("tabletop: splits and seeds give different scenes") {
  Random random{0};
  std::set<std::vector<std::uint8_t>> pictures;
  for (const TabletopSplit split : splits)
    for (const std::uint64_t seed : {1, 2})
      pictures.insert(tabletop_data_set(every_group(split, seed)).read(0, random).image.pixels);
  CHECK(pictures.size() == 8);
}

TEST_CASE("tabletop: every [SEG] of the answers has its mask, which shows exactly the visible pixels of its targets") {
  rc::check([] {
    const TabletopSettings settings = every_group(*rc::gen::elementOf(splits), *rc::gen::arbitrary<std::uint64_t>());
    const auto index = *rc::gen::inRange<std::size_t>(0, 1000);
    const AskedScene asked = asked_scene(settings, index);
    Random random{0};
    const Sample sample = tabletop_data_set(settings).read(index, random);
    RC_ASSERT(sample.image == asked.scene.image);
    RC_ASSERT(sample.dialogues.size() == asked.questions.size());
    RC_ASSERT(!sample.dialogues.empty());
    for (std::size_t i = 0; i < sample.dialogues.size(); ++i) {
      const Dialogue& dialogue = sample.dialogues[i];
      const auto& [group, question] = asked.questions[i];
      RC_ASSERT(dialogue.group == name_of(group));
      RC_ASSERT(asked_masks(dialogue) == dialogue.masks.size());
      RC_ASSERT(dialogue.masks.size() == question.targets.size());
      const bool words_only = group == Group::absent || group == Group::facts || group == Group::sight;
      RC_ASSERT(dialogue.masks.empty() == words_only);
      for (std::size_t m = 0; m < dialogue.masks.size(); ++m) {
        std::set<std::size_t> shown;
        const std::set<std::size_t> targets(question.targets[m].begin(), question.targets[m].end());
        for (std::size_t pixel = 0; pixel < asked.scene.owners.size(); ++pixel) {
          const std::size_t owner = asked.scene.owners[pixel];
          const bool target = owner != 0 && targets.count(owner - 1) != 0;
          RC_ASSERT(dialogue.masks[m].labels[pixel] == (target ? 1 : 0));
          if (target) shown.insert(owner - 1);
        }
        RC_ASSERT(shown == targets);
        RC_ASSERT(!targets.empty());
      }
    }
  });
}

TEST_CASE("tabletop: objects stay mostly visible, apart, and are found where they lie") {
  rc::check([] {
    SceneSettings settings;
    settings.side = *rc::gen::inRange(64, 161);
    Random random{*rc::gen::arbitrary<std::uint64_t>()};
    const Scene scene = make_scene(settings, Combinations::training, random);
    RC_ASSERT(scene.objects.size() >= 2u);
    RC_ASSERT(scene.objects.size() <= 5u);
    RC_ASSERT((scene.image.size() == ImageSize{settings.side, settings.side}));
    for (std::size_t i = 0; i < scene.objects.size(); ++i) {
      const PlacedObject& object = scene.objects[i];
      const auto seen = std::count(scene.owners.begin(), scene.owners.end(), i + 1);
      RC_ASSERT(seen == object.visible);
      RC_ASSERT(object.visible >= settings.min_visible * object.area);
      RC_ASSERT(object.area > 0.4 * object.radius * object.radius);
      for (std::size_t pixel = 0; pixel < scene.owners.size(); ++pixel)
        if (scene.owners[pixel] == i + 1) {
          const double dx = static_cast<double>(pixel % static_cast<std::size_t>(settings.side)) + 0.5 - object.x;
          const double dy = static_cast<double>(pixel / static_cast<std::size_t>(settings.side)) + 0.5 - object.y;
          RC_ASSERT(std::hypot(dx, dy) <= 1.35 * object.radius + 1.5);
        }
      RC_ASSERT(!held_out_combination(object.kind, object.color));
      for (std::size_t j = 0; j < i; ++j)
        RC_ASSERT(object.kind != scene.objects[j].kind || object.color != scene.objects[j].color);
    }
  });
}

TEST_CASE("tabletop: training neither shows nor names a held-out combination, its split asks for nothing else") {
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    int held_out = 0;
    for (std::size_t color = 0; color < colors.size(); ++color) held_out += held_out_combination(kind, color) ? 1 : 0;
    CHECK(held_out == 1);
  }
  for (std::size_t index = 0; index < 400; ++index) {
    const AskedScene training = asked_scene(every_group(TabletopSplit::train, 3), index);
    for (const PlacedObject& object : training.scene.objects)
      REQUIRE_FALSE(held_out_combination(object.kind, object.color));
    for (const auto& [group, question] : training.questions)
      for (const Exchange& exchange : question.exchanges)
        for (const std::size_t found : combinations_in(exchange.question + exchange.answer))
          REQUIRE_FALSE(held_out_combination(found % kinds.size(), found / kinds.size()));
    const AskedScene held_out = asked_scene(every_group(TabletopSplit::combinations, 3), index);
    for (const auto& [group, question] : held_out.questions)
      for (const std::vector<std::size_t>& targets : question.targets)
        REQUIRE(std::any_of(targets.begin(), targets.end(), [&](std::size_t i) {
          return held_out_combination(held_out.scene.objects[i].kind, held_out.scene.objects[i].color);
        }));
  }
}

TEST_CASE("tabletop: held-out paraphrases share no question with training, but all their words") {
  std::set<std::string> training_questions, training_words, words, held_out_words;
  for (const std::string& word : tabletop_words()) words.insert(word);
  TabletopSettings settings = every_group(TabletopSplit::train, 5);
  settings.questions = 20;
  for (std::size_t index = 0; index < 1500; ++index)
    for (const auto& [group, question] : asked_scene(settings, index).questions)
      for (const Exchange& exchange : question.exchanges) {
        training_questions.insert(exchange.question);
        for (const std::string& text : {exchange.question, exchange.answer})
          for (const std::string& word : words_of(text))
            if (word != "SEG") training_words.insert(word);
      }

  settings.split = TabletopSplit::paraphrases;
  std::size_t repeated = 0;
  for (std::size_t index = 0; index < 300; ++index)
    for (const auto& [group, question] : asked_scene(settings, index).questions)
      for (const Exchange& exchange : question.exchanges) {
        repeated += training_questions.count(exchange.question);
        for (const std::string& word : words_of(exchange.question)) held_out_words.insert(word);
      }
  CHECK(repeated == 0);
  const auto missing = [](const std::set<std::string>& some, const std::set<std::string>& all) {
    std::string listed;
    for (const std::string& word : some)
      if (all.count(word) == 0) listed += word + " ";
    return listed;
  };
  CHECK(missing(training_words, words) == "");
  CHECK(missing(held_out_words, words) == "");
  CHECK(missing(held_out_words, training_words) == "");
}

TEST_CASE("tabletop: questions mean what they say") {
  TabletopSettings settings = every_group(TabletopSplit::train, 11);
  std::map<std::string, int> seen;
  for (std::size_t index = 0; index < 600; ++index) {
    const auto [scene, questions] = asked_scene(settings, index);
    const auto kind_of = [&](std::size_t i) { return kinds[scene.objects[i].kind]; };
    for (const auto& [group, question] : questions) {
      const std::string& text = question.exchanges[0].question;
      const bool one_target = question.targets.size() == 1 && question.targets[0].size() == 1;
      const std::size_t target = question.targets.empty() ? 0 : question.targets[0][0];
      const auto others_all = [&](auto holds) {
        for (std::size_t i = 0; i < scene.objects.size(); ++i)
          if (i != target && !holds(scene.objects[i], scene.objects[target])) return false;
        return true;
      };
      ++seen[std::string(name_of(group))];
      if (group == Group::name) {
        CHECK(one_target);
        CHECK(has_word(text, kind_of(target).name));
        CHECK(others_all([](auto& other, auto& it) { return other.kind != it.kind; }));
      } else if (group == Group::reasoning) {
        CHECK(one_target);
        CHECK((text.find(kind_of(target).facts.uses[0]) != std::string::npos ||
               text.find(kind_of(target).facts.uses[1]) != std::string::npos));
        CHECK(others_all([](auto& other, auto& it) { return other.kind != it.kind; }));
        CHECK_FALSE(has_word(text, kind_of(target).name));
      } else if (group == Group::knowledge && text.find("made of") != std::string::npos) {
        CHECK(text.find(kind_of(target).facts.material) != std::string::npos);
        CHECK(others_all(
            [](auto& other, auto& it) { return kinds[other.kind].facts.material != kinds[it.kind].facts.material; }));
      } else if (text.find("leftmost") != std::string::npos) {
        ++seen["leftmost"];
        CHECK(others_all([](auto& other, auto& it) { return other.x > it.x + 11; }));
      } else if (text.find("object below the") != std::string::npos) {
        ++seen["below"];
        const auto reference = std::find_if(scene.objects.begin(), scene.objects.end(), [&](auto& object) {
          return text.find("below the " + std::string(kinds[object.kind].name)) != std::string::npos;
        });
        REQUIRE(reference != scene.objects.end());
        CHECK(scene.objects[target].y > reference->y + 11);
        CHECK(others_all([&](auto& other, auto&) { return other.y < reference->y + 5; }));
      } else if (text.find("largest") != std::string::npos) {
        ++seen["largest"];
        CHECK(others_all([](auto& other, auto& it) { return it.visible >= 1.3 * other.visible; }));
      } else if (group == Group::caption) {
        std::map<double, std::string> from_left_to_right;
        for (const PlacedObject& object : scene.objects)
          from_left_to_right[object.x] =
              std::string(colors[object.color].name) + " " + std::string(kinds[object.kind].name);
        std::size_t at = 0;
        for (const auto& [x, object] : from_left_to_right) {
          at = question.exchanges[0].answer.find(object, at);
          REQUIRE(at != std::string::npos);
          at += object.size();
        }
      } else if (group == Group::absent) {
        CHECK(question.targets.empty());
        for (const PlacedObject& object : scene.objects)
          CHECK_FALSE(question.exchanges[0].answer ==
                      "There is no " + std::string(kinds[object.kind].name) + " in this image.");
      } else if (group == Group::multi_turn) {
        CHECK(question.exchanges.size() == 2);
        CHECK_FALSE(has_word(question.exchanges[1].question, kind_of(target).name));
      } else if (group == Group::explanatory) {
        CHECK(question.exchanges[0].answer.starts_with("It is [SEG]. "));
        CHECK(question.exchanges[0].answer.find(kind_of(target).name) != std::string::npos);
      }
    }
  }
  for (const std::string_view name : group_names) CHECK_MESSAGE(seen[std::string(name)] > 20, name);
  for (const char* what : {"leftmost", "below", "largest"}) CHECK_MESSAGE(seen[what] > 5, what);
}

TEST_CASE("tabletop: curricula hold the groups they promise, and no more") {
  const auto groups = [](const std::vector<TabletopShare>& shares) {
    std::set<std::string> found;
    TabletopSettings settings;
    settings.shares = shares;
    settings.questions = 5;
    for (std::size_t index = 0; index < 200; ++index)
      for (const auto& [group, question] : asked_scene(settings, index).questions)
        found.insert(std::string(name_of(group)));
    return found;
  };
  CHECK(groups(tabletop_pretraining_shares()) ==
        std::set<std::string>{"name", "attribute", "relation", "several", "absent", "multi-turn", "facts", "sight"});
  CHECK(groups(tabletop_description_shares()) == std::set<std::string>{"caption", "sight", "absent"});
  CHECK(groups(tabletop_reasoning_shares()) == std::set<std::string>{"reasoning", "knowledge", "explanatory"});
}

TEST_CASE("tabletop: uses belong to one kind each") {
  std::set<std::string_view> uses, names;
  for (const Kind& kind : kinds) {
    uses.insert({kind.facts.uses[0], kind.facts.uses[1], kind.facts.held_out_use});
    names.insert({kind.name, kind.plural});
  }
  CHECK(uses.size() == 3 * kinds.size());
  CHECK(names.size() == 2 * kinds.size());
}

TEST_CASE("tabletop: answers may name the object before its mask") {
  TabletopSettings settings;
  settings.shares = {{Group::reasoning, 1}};
  settings.style.naming_answers = true;
  const AskedScene asked = asked_scene(settings, 0);
  const Question& question = asked.questions[0].second;
  CHECK(question.exchanges[0].answer ==
        "It is the " + std::string(kinds[asked.scene.objects[question.targets[0][0]].kind].name) + ", [SEG].");
}

TEST_CASE("tabletop: settings out of range are refused") {
  const auto refused = [](auto change) {
    TabletopSettings settings;
    change(settings);
    CHECK_THROWS_AS(static_cast<void>(tabletop_data_set(settings)), InputError);
  };
  refused([](TabletopSettings& s) { s.shares.clear(); });
  refused([](TabletopSettings& s) { s.shares = {{Group::name, 0}}; });
  refused([](TabletopSettings& s) { s.shares = {{Group::name, -1}, {Group::absent, 2}}; });
  refused([](TabletopSettings& s) { s.questions = 0; });
  refused([](TabletopSettings& s) { s.scene.side = 8; });
  refused([](TabletopSettings& s) { s.scene.max_objects = 9; });
  refused([](TabletopSettings& s) { s.scene.min_objects = 6; });
  refused([](TabletopSettings& s) { s.scene.max_angle = std::nan(""); });
  refused([](TabletopSettings& s) { s.scene.min_radius = std::nan(""); });
  refused([](TabletopSettings& s) { s.scene.min_visible = 1; });
  CHECK_THROWS_AS(static_cast<void>(group_of("nothing")), InputError);
  CHECK_THROWS_AS(static_cast<void>(tabletop_split_of("test")), InputError);

  TabletopSettings crowded;
  crowded.scene.min_objects = crowded.scene.max_objects = 8;
  crowded.scene.min_radius = crowded.scene.max_radius = 0.4;
  Random random{1};
  CHECK_THROWS_AS(static_cast<void>(tabletop_data_set(crowded).read(0, random)), InputError);
}
