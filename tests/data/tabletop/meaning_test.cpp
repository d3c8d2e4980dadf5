// torch-free
// Questions about the tabletop mean what they say: each is read as a person would read it, by the tables below and not
// by the code that wrote it, and what it asks for is looked up in the scene.
#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/data_set.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::tabletop;

namespace {

/// What a sentence is about. The senses up to `it` ask for objects, the others for words.
enum class Sense {
  objects,      ///< "red mug", "leftmost object", "mug and the hat"
  all_objects,  ///< "mugs", "red objects"
  use,
  material,
  place,
  user,
  beside_it,
  like_it,
  it,
  its_use,
  its_material,
  its_place,
  its_user,
  its_color,
  its_kind,
  how_many,
  what_objects,
  is_there,
};

struct Pattern {
  std::string_view before, after;  ///< of what it is about
  Sense sense;
};

/// The first that fits counts.
constexpr std::array patterns{
    Pattern{"Please segment it in this image.", "", Sense::it},
    Pattern{"Can you segment it in this image?", "", Sense::it},
    Pattern{"Where is it in this image?", "", Sense::it},
    Pattern{"Which object has the same color?", "", Sense::like_it},
    Pattern{"What has the same color as it?", "", Sense::like_it},
    Pattern{"What is ", " it?", Sense::beside_it},
    Pattern{"Which object is ", " it?", Sense::beside_it},
    Pattern{"Can you segment all the ", " in this image?", Sense::all_objects},
    Pattern{"Please segment all the ", " in this image.", Sense::all_objects},
    Pattern{"Where are all the ", " in this image?", Sense::all_objects},
    Pattern{"Can you segment the ", " in this image?", Sense::objects},
    Pattern{"Please segment the ", " in this image.", Sense::objects},
    Pattern{"Where is the ", " in this image?", Sense::objects},
    Pattern{"Can you find the ", " in this image?", Sense::objects},
    Pattern{"What would you use to ", "?", Sense::use},
    Pattern{"Which object helps you to ", "?", Sense::use},
    Pattern{"I want to ", ". What do I need?", Sense::use},
    Pattern{"What do I need to ", "?", Sense::use},
    Pattern{"Which object would you use to ", "?", Sense::use},
    Pattern{"Which object is made of ", "?", Sense::material},
    Pattern{"Which object in this image is made of ", "?", Sense::material},
    Pattern{"What is made of ", " in this image?", Sense::material},
    Pattern{"Which object do you find in ", "?", Sense::place},
    Pattern{"What belongs in ", "?", Sense::place},
    Pattern{"Which object belongs in ", "?", Sense::place},
    Pattern{"Which object does ", " use?", Sense::user},
    Pattern{"Which object does ", " need?", Sense::user},
    Pattern{"What does ", " need?", Sense::user},
    Pattern{"What is ", " used for?", Sense::its_use},
    Pattern{"What do you use ", " for?", Sense::its_use},
    Pattern{"What is ", " made of?", Sense::its_material},
    Pattern{"Can you see what ", " is made of?", Sense::its_material},
    Pattern{"Where do you find ", "?", Sense::its_place},
    Pattern{"Where is ", " used?", Sense::its_place},
    Pattern{"Who uses ", "?", Sense::its_user},
    Pattern{"Who would need ", "?", Sense::its_user},
    Pattern{"What color is ", "?", Sense::its_color},
    Pattern{"Which color is ", "?", Sense::its_color},
    Pattern{"What is the ", " in this image?", Sense::its_kind},
    Pattern{"Which object is the ", "?", Sense::its_kind},
    Pattern{"What is ", " in this image?", Sense::objects},
    Pattern{"How many objects are in this image?", "", Sense::how_many},
    Pattern{"How many objects are there?", "", Sense::how_many},
    Pattern{"What objects are in this image?", "", Sense::what_objects},
    Pattern{"What do you see in this image?", "", Sense::what_objects},
    Pattern{"Which objects do you see in this image?", "", Sense::what_objects},
    Pattern{"Is there ", " in this image?", Sense::is_there},
    Pattern{"Can you see ", " in this image?", Sense::is_there},
};

constexpr std::array requests{std::string_view(" Please respond with segmentation mask."),
                              std::string_view(" Please output segmentation mask."),
                              std::string_view(" Please output segmentation mask and explain why."),
                              std::string_view(" Please output segmentation mask and explain the reason."),
                              std::string_view(" Please output segmentation mask and give some explanation.")};

/// What stands between two texts that are a sentence's ends.
std::optional<std::string> between(std::string_view text, std::string_view before, std::string_view after) {
  if (!text.starts_with(before) || !text.ends_with(after)) return std::nullopt;
  if (after.empty() && text != before) return std::nullopt;
  if (text.size() < before.size() + after.size()) return std::nullopt;
  return std::string(text.substr(before.size(), text.size() - before.size() - after.size()));
}

/// A question in parts.
struct Reading {
  Sense sense;
  std::string about;
};

std::optional<Reading> read(std::string question) {
  for (const std::string_view request : requests)
    if (question.ends_with(request)) question.resize(question.size() - request.size());
  for (const Pattern& pattern : patterns)
    if (auto about = between(question, pattern.before, pattern.after)) return Reading{pattern.sense, *about};
  return std::nullopt;
}

std::string without_article(const std::string& noun) {
  for (const char* const article : {"a ", "an ", "the "})
    if (noun.starts_with(article)) return noun.substr(std::string_view(article).size());
  return noun;
}

std::optional<std::size_t> kind_named(std::string_view name) {
  for (std::size_t i = 0; i < kinds.size(); ++i)
    if (kinds[i].name == name || kinds[i].plural == name) return i;
  return std::nullopt;
}

std::optional<std::size_t> color_named(std::string_view name) {
  for (std::size_t i = 0; i < colors.size(); ++i)
    if (colors[i].name == name) return i;
  return std::nullopt;
}

using Objects = std::vector<std::size_t>;

/// A scene as a person sees it. What is neither clearly so nor clearly not so is counted.
class Onlooker {
 public:
  explicit Onlooker(const Scene& scene) : scene_(scene), pixels_(scene.objects.size()) {
    for (const std::uint8_t owner : scene.owners)
      if (owner != 0) ++pixels_[owner - 1U];
  }

  [[nodiscard]] int unclear() const { return unclear_; }

  /// The objects that an expression names; none for what is not there. Nothing for an expression that says nothing.
  std::optional<Objects> named(const std::string& text) {
    if (auto kind = between(text + ".", "object with the same color as the ", ".")) {
      const auto reference = only(*kind);
      return reference ? std::optional(like(*reference)) : std::nullopt;
    }
    for (const char* const direction : {"left of", "right of", "above", "below"})
      if (auto kind = between(text + ".", "object " + std::string(direction) + " the ", ".")) {
        const auto reference = only(*kind);
        return reference ? std::optional(beside(*reference, direction)) : std::nullopt;
      }
    for (const char* const place : {"leftmost", "rightmost", "topmost", "bottommost"})
      if (text == std::string(place) + " object") return extreme(place);
    if (text == "largest object") return by_size([](double mine, double other) { return mine >= 1.25 * other; });
    if (text == "smallest object") return by_size([](double mine, double other) { return 1.25 * mine <= other; });
    const std::size_t space = text.find(' ');
    const auto color = color_named(text.substr(0, space));
    const std::string noun = color ? text.substr(space + 1) : text;
    const auto kind = kind_named(noun);
    if (!kind && !(color && (noun == "object" || noun == "objects"))) return std::nullopt;
    return where([&](std::size_t i) {
      return (!color || scene_.objects[i].color == *color) && (!kind || scene_.objects[i].kind == *kind);
    });
  }
  Objects beside(std::size_t reference, const std::string& direction) {
    return judged([&](std::size_t i) { return i == reference ? -1e9 : ahead(i, reference, direction); });
  }
  Objects like(std::size_t reference) const {
    return where(
        [&](std::size_t i) { return i != reference && scene_.objects[i].color == scene_.objects[reference].color; });
  }
  /// The objects whose kind has a property.
  Objects known(const std::function<bool(const Kind&)>& holds) const {
    return where([&](std::size_t i) { return holds(kinds[scene_.objects[i].kind]); });
  }

 private:
  template <class Holds>
  Objects where(Holds holds) const {
    Objects found;
    for (std::size_t i = 0; i < scene_.objects.size(); ++i)
      if (holds(i)) found.push_back(i);
    return found;
  }
  std::optional<std::size_t> only(const std::string& kind) const {
    const auto index = kind_named(kind);
    const Objects found = where([&](std::size_t i) { return scene_.objects[i].kind == index; });
    return index && found.size() == 1 ? std::optional(found[0]) : std::nullopt;
  }
  /// How far one object lies from another in a direction, in shares of the picture.
  double ahead(std::size_t object, std::size_t other, const std::string& direction) const {
    const PlacedObject &a = scene_.objects[object], &b = scene_.objects[other];
    const double side = scene_.image.width;
    if (direction.starts_with("left")) return (b.x - a.x) / side;
    if (direction.starts_with("right")) return (a.x - b.x) / side;
    return (direction == "above" || direction == "topmost" ? b.y - a.y : a.y - b.y) / side;
  }
  /// The objects that are clearly ahead; who is neither that nor clearly not is unclear.
  template <class Ahead>
  Objects judged(Ahead ahead_of) {
    return where([&](std::size_t i) {
      const double distance = ahead_of(i);
      unclear_ += distance > 0.06 && distance < 0.11 ? 1 : 0;
      return distance >= 0.11;
    });
  }
  Objects extreme(const std::string& place) {
    return judged([&](std::size_t i) {
      double least = 1;
      for (std::size_t other = 0; other < scene_.objects.size(); ++other)
        if (other != i) least = std::min(least, ahead(i, other, place));
      return least;
    });
  }
  template <class Beyond>
  Objects by_size(Beyond beyond) const {
    return where([&](std::size_t i) {
      for (std::size_t other = 0; other < pixels_.size(); ++other)
        if (other != i && !beyond(pixels_[i], pixels_[other])) return false;
      return true;
    });
  }

  const Scene& scene_;
  std::vector<double> pixels_;  ///< that are seen of each object
  int unclear_ = 0;
};

bool has_use(const Kind& kind, std::string_view use) {
  return kind.facts.uses[0] == use || kind.facts.uses[1] == use || kind.facts.held_out_use == use;
}

std::size_t count_masks(std::string_view text) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find("[SEG]", at)) != std::string_view::npos; ++at) ++found;
  return found;
}

/// The parts of "mug, the red hat and the key".
std::vector<std::string> listed(std::string text) {
  std::vector<std::string> parts;
  for (const char* const separator : {", the ", " and the "})
    for (std::size_t at; (at = text.find(separator)) != std::string::npos;)
      text.replace(at, std::string_view(separator).size(), "|");
  for (std::size_t begin = 0; begin != std::string::npos;) {
    const std::size_t end = text.find('|', begin);
    parts.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
    begin = end == std::string::npos ? end : end + 1;
  }
  return parts;
}

/// Reads a conversation about a scene and complains of all that does not hold.
class Reader {
 public:
  Reader(const Scene& scene, std::map<std::string, int>& seen) : scene_(scene), onlooker_(scene), seen_(seen) {}

  void judge(const Question& question) {
    std::size_t next = 0;
    for (const Exchange& exchange : question.exchanges) {
      CAPTURE(exchange.question);
      CAPTURE(exchange.answer);
      const std::size_t masks = count_masks(exchange.answer);
      REQUIRE(next + masks <= question.targets.size());
      const std::vector<Objects> targets(question.targets.begin() + static_cast<std::ptrdiff_t>(next),
                                         question.targets.begin() + static_cast<std::ptrdiff_t>(next + masks));
      next += masks;
      const std::optional<Reading> reading = read(exchange.question);
      REQUIRE(reading.has_value());
      if (masks > 0)
        judge_masks(*reading, exchange.answer, targets);
      else
        judge_words(*reading, exchange.answer);
      CHECK(onlooker_.unclear() == 0);
    }
    CHECK(next == question.targets.size());
  }

 private:
  void judge_masks(const Reading& reading, const std::string& answer, const std::vector<Objects>& targets) {
    if (reading.sense == Sense::objects) {
      const std::vector<std::string> parts = listed(reading.about);
      REQUIRE(parts.size() == targets.size());
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto meant = onlooker_.named(parts[i]);
        REQUIRE(meant.has_value());
        CHECK(meant->size() == 1);
        CHECK(*meant == targets[i]);
      }
      ++seen_[parts.size() > 1 ? "list" : reading.about.substr(0, reading.about.rfind(" the "))];
      it_ = targets[0][0];
      return;
    }
    REQUIRE(targets.size() == 1);
    std::optional<Objects> meant;
    switch (reading.sense) {
      case Sense::all_objects:
        meant = onlooker_.named(reading.about);
        CHECK(targets[0].size() > 1);
        ++seen_["all"];
        break;
      case Sense::beside_it:
        REQUIRE(it_.has_value());
        meant = onlooker_.beside(*it_, reading.about);
        ++seen_[reading.about + " it"];
        break;
      case Sense::like_it:
        REQUIRE(it_.has_value());
        meant = onlooker_.like(*it_);
        ++seen_["same color as it"];
        break;
      case Sense::it:
        REQUIRE(it_.has_value());
        meant = Objects{*it_};
        break;
      default:
        meant = onlooker_.known(fact(reading));
        ++seen_[fact_name(reading.sense)];
    }
    REQUIRE(meant.has_value());
    if (reading.sense != Sense::all_objects) CHECK(meant->size() == 1);
    CHECK(*meant == targets[0]);
    const std::size_t end = answer.find("[SEG].");
    REQUIRE(end != std::string::npos);
    if (end + 6 < answer.size())
      judge_reason(reading, answer.substr(end + 7), kinds[scene_.objects[targets[0][0]].kind]);
  }

  /// "A mug is made of clay." after a question for what is made of clay.
  void judge_reason(const Reading& reading, const std::string& reason, const Kind& kind) {
    ++seen_[fact_name(reading.sense) + " explained"];
    std::string it = with_article(kind.name), capital = it;
    capital[0] = 'A';
    const std::map<Sense, std::string> right{{Sense::use, "You use " + it + " to "},
                                             {Sense::material, capital + " is made of "},
                                             {Sense::place, "You find " + it + " in "},
                                             {Sense::user, capital + " is used by "}};
    CHECK(reason == right.at(reading.sense) + reading.about + ".");
  }

  void judge_words(const Reading& reading, const std::string& answer) {
    const auto says = [&](std::string_view before, std::string_view after) {
      const auto said = between(answer, before, after);
      REQUIRE(said.has_value());
      return without_article(*said);
    };
    // What the question is about: an object of the scene, or a kind.
    const std::string about = without_article(reading.about);
    const auto one = [&] {
      if (reading.about == "it") {
        REQUIRE(it_.has_value());
        return *it_;
      }
      const auto meant = onlooker_.named(about);
      REQUIRE(meant.has_value());
      REQUIRE(meant->size() == 1);
      return (*meant)[0];
    };
    const auto kind = [&]() -> const Kind& {
      const auto named = reading.about == "it" ? std::optional(scene_.objects[one()].kind) : kind_named(about);
      REQUIRE(named.has_value());
      return kinds[*named];
    };
    ++seen_["words " + std::to_string(static_cast<int>(reading.sense))];
    switch (reading.sense) {
      case Sense::objects:  // not there
        REQUIRE(onlooker_.named(reading.about).has_value());
        CHECK(onlooker_.named(reading.about)->empty());
        CHECK(answer == "There is no " + reading.about + " in this image.");
        return;
      case Sense::use: {  // of every kind, there or not
        const auto said = kind_named(says("You use ", "."));
        REQUIRE(said.has_value());
        for (std::size_t i = 0; i < kinds.size(); ++i) CHECK(has_use(kinds[i], reading.about) == (i == *said));
        return;
      }
      case Sense::material:
      case Sense::place:
      case Sense::user: {
        const Objects meant = onlooker_.known(fact(reading));
        REQUIRE(meant.size() == 1);
        CHECK(kinds[scene_.objects[meant[0]].kind].name == says("It is ", "."));
        return;
      }
      case Sense::its_use:
        CHECK(has_use(kind(), says("It is used to ", ".")));
        return;
      case Sense::its_material:
        CHECK(kind().facts.material == says("It is made of ", "."));
        return;
      case Sense::its_place:
        CHECK(kind().facts.place == says("You find it in ", "."));
        return;
      case Sense::its_user:
        CHECK(kind().facts.user == says("It is used by ", "."));
        return;
      case Sense::its_color:
        CHECK(colors[scene_.objects[one()].color].name == says("It is ", "."));
        return;
      case Sense::its_kind:
        it_ = one();
        CHECK(kinds[scene_.objects[*it_].kind].name == says("It is ", "."));
        return;
      case Sense::how_many:
        CHECK(says("There are ", " objects.") ==
              std::array{"no", "one", "two", "three", "four", "five", "six"}.at(scene_.objects.size()));
        return;
      case Sense::what_objects:
        judge_list(says("There are ", "."));
        return;
      case Sense::is_there: {
        const auto there = onlooker_.named(about);
        REQUIRE(there.has_value());
        CHECK(answer == (there->empty() ? "No, there is no " + about + "." : "Yes, there is " + reading.about + "."));
        ++seen_[there->empty() ? "is not there" : "is there"];
        return;
      }
      default:
        FAIL("a question for a mask is answered in words");
    }
  }

  /// "red mug, a blue fork and a red hat", all of them from left to right.
  void judge_list(std::string list) {
    for (const char* const separator : {" and an ", " and a ", ", an ", ", a "})
      for (std::size_t at; (at = list.find(separator)) != std::string::npos;)
        list.replace(at, std::string_view(separator).size(), "|");
    Objects order(scene_.objects.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::pair(scene_.objects[a].x, a) < std::pair(scene_.objects[b].x, b);
    });
    std::string right;
    for (const std::size_t i : order)
      right += (right.empty() ? "" : "|") + std::string(colors[scene_.objects[i].color].name) + " " +
               std::string(kinds[scene_.objects[i].kind].name);
    CHECK(list == right);
  }

  static std::string fact_name(Sense sense) {
    return sense == Sense::use        ? "use"
           : sense == Sense::material ? "material"
           : sense == Sense::place    ? "place"
                                      : "user";
  }
  /// Whether a kind is what a question for use, material, place or user asks for.
  static std::function<bool(const Kind&)> fact(const Reading& reading) {
    const std::string value = without_article(reading.about);
    switch (reading.sense) {
      case Sense::use:
        return [value](const Kind& kind) { return has_use(kind, value); };
      case Sense::material:
        return [value](const Kind& kind) { return kind.facts.material == value; };
      case Sense::place:
        return [value](const Kind& kind) { return kind.facts.place == value; };
      case Sense::user:
        return [value](const Kind& kind) { return kind.facts.user == value; };
      default:
        FAIL("an answer in words is a mask");
        return {};
    }
  }

  const Scene& scene_;
  Onlooker onlooker_;
  std::map<std::string, int>& seen_;
  std::optional<std::size_t> it_;  ///< what the conversation is about
};

}  // namespace

TEST_CASE("tabletop: every question of every group means what it says, to the last object") {
  TabletopSettings settings;
  settings.seed = 21;
  settings.questions = 10;
  settings.shares.clear();
  for (const std::string_view name : group_names) settings.shares.push_back({group_of(name), 1});
  settings.shares[static_cast<std::size_t>(Group::relation)].weight = 3;
  for (const TabletopSplit split : {TabletopSplit::train, TabletopSplit::scenes, TabletopSplit::paraphrases}) {
    CAPTURE(name_of(split));
    settings.split = split;
    settings.style.naming_answers = split == TabletopSplit::scenes;  // as the shipped model was trained
    std::map<std::string, int> seen;
    for (std::size_t index = 0; index < 300; ++index) {
      CAPTURE(index);
      const auto [scene, questions] = asked_scene(settings, index);
      for (const auto& [group, question] : questions) {
        CAPTURE(name_of(group));
        Reader(scene, seen).judge(question);
      }
    }
    // Every kind of question was met.
    for (const char* const what : {"leftmost object",
                                   "rightmost object",
                                   "topmost object",
                                   "bottommost object",
                                   "largest object",
                                   "smallest object",
                                   "object left of",
                                   "object right of",
                                   "object above",
                                   "object below",
                                   "object with the same color as",
                                   "left of it",
                                   "right of it",
                                   "above it",
                                   "below it",
                                   "same color as it",
                                   "list",
                                   "all",
                                   "use",
                                   "material",
                                   "place",
                                   "user",
                                   "use explained",
                                   "material explained",
                                   "place explained",
                                   "user explained",
                                   "is there",
                                   "is not there"})
      CHECK_MESSAGE(seen[what] >= 5, std::string(what));
    for (const Sense sense :
         {Sense::objects, Sense::use, Sense::material, Sense::place, Sense::user, Sense::its_use, Sense::its_material,
          Sense::its_place, Sense::its_user, Sense::its_color, Sense::its_kind, Sense::how_many, Sense::what_objects})
      CHECK_MESSAGE(seen["words " + std::to_string(static_cast<int>(sense))] >= 5, static_cast<int>(sense));
  }
}

TEST_CASE("tabletop: objects at the same place from the left are listed from the lowest to the one on top") {
  Scene scene{make_image({96, 96}), std::vector<std::uint8_t>(std::size_t{96} * 96), {}};
  for (std::size_t i = 0; i < 8; ++i)
    scene.objects.push_back({.kind = i, .color = i, .x = i == 3 ? 10.0 : 48.0, .y = 12.0 * static_cast<double>(i)});
  Random random{1};
  const auto question = make_question(scene, Group::caption, {}, random);
  REQUIRE(question.has_value());
  std::size_t at = 0;
  for (const std::size_t i : {3, 0, 1, 2, 4, 5, 6, 7}) {
    const std::size_t found = question->exchanges[0].answer.find(kinds[i].name);
    REQUIRE(found != std::string::npos);
    CHECK(found >= at);
    at = found;
  }
}
