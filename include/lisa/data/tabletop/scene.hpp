#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/draw.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/image/image.hpp"

namespace lisa::tabletop {

/// What scenes look like.
struct SceneSettings {
  int side = 96;  ///< pixels
  int min_objects = 2;
  int max_objects = 5;        ///< at most 8
  double min_radius = 0.135;  ///< of the side; an object is about two radii long
  double max_radius = 0.2;
  double max_angle = 0.5;    ///< radians, either way
  double min_visible = 0.7;  ///< share of each object's pixels that no other object hides
};

/// Which combinations of kind and color a scene may show.
enum class Combinations {
  training,      ///< all but the held-out ones
  with_held_out  ///< the first object is a held-out combination, the others may be
};

/// A picture of a tabletop and what lies on it.
struct Scene {
  Image image;
  std::vector<std::uint8_t> owners;   ///< [H, W], 0 for the table, i + 1 where object i is seen
  std::vector<PlacedObject> objects;  ///< later ones lie on earlier ones
};

namespace scene_detail {

inline void require_valid(const SceneSettings& settings) {
  const auto demand = [](bool holds, const std::string& found, const std::string& expected) {
    if (!holds) throw InputError("tabletop scene", found_expected(found, expected));
  };
  demand(settings.side >= 32 && settings.side <= 4096, "side " + std::to_string(settings.side), "32 to 4096 pixels");
  demand(settings.min_objects >= 1 && settings.min_objects <= settings.max_objects && settings.max_objects <= 8,
         std::to_string(settings.min_objects) + " to " + std::to_string(settings.max_objects) + " objects", "1 to 8");
  demand(settings.min_radius > 0.02 && settings.min_radius <= settings.max_radius && settings.max_radius <= 0.45,
         "radii from " + std::to_string(settings.min_radius) + " to " + std::to_string(settings.max_radius) +
             " of the side",
         "0.02 to 0.45");
  demand(settings.max_angle >= 0 && settings.max_angle <= 4, "angle " + std::to_string(settings.max_angle),
         "0 to 4 radians");
  demand(settings.min_visible >= 0 && settings.min_visible < 1, "visible share " + std::to_string(settings.min_visible),
         "0 or more and less than 1");
}

/// Kinds and colors. Repetitions are likelier than chance would have them, so that a kind alone or a color alone often
/// does not name an object.
[[nodiscard]] inline std::vector<PlacedObject> choose_objects(const SceneSettings& settings, Combinations combinations,
                                                              Random& random) {
  const auto count = static_cast<std::size_t>(random.between(settings.min_objects, settings.max_objects));
  std::vector<PlacedObject> objects;
  while (objects.size() < count) {
    PlacedObject object{.kind = random.below(kinds.size()), .color = random.below(colors.size())};
    if (!objects.empty() && random.chance(0.12)) object.kind = random.pick(objects).kind;
    if (!objects.empty() && random.chance(0.2)) object.color = random.pick(objects).color;
    const bool held_out = held_out_combination(object.kind, object.color);
    const bool allowed = combinations == Combinations::training ? !held_out : held_out || !objects.empty();
    const bool repeated = std::any_of(objects.begin(), objects.end(), [&](const PlacedObject& other) {
      return other.kind == object.kind && other.color == object.color;
    });
    if (allowed && !repeated) objects.push_back(object);
  }
  return objects;
}

/// Sizes and places: inside the picture, centers apart. False when no room was found.
[[nodiscard]] inline bool place_objects(const SceneSettings& settings, std::vector<PlacedObject>& objects,
                                        Random& random) {
  constexpr int attempts = 40;
  constexpr double closeness = 0.78;  // of the sum of two radii
  for (std::size_t i = 0; i < objects.size(); ++i) {
    PlacedObject& object = objects[i];
    bool placed = false;
    for (int attempt = 0; attempt < attempts && !placed; ++attempt) {
      object.radius = settings.side * random.uniform(settings.min_radius, settings.max_radius);
      object.angle = random.uniform(-settings.max_angle, settings.max_angle);
      const double margin = std::min(object.radius * 1.05, settings.side / 2.0);
      object.x = random.uniform(margin, settings.side - margin);
      object.y = random.uniform(margin, settings.side - margin);
      placed = std::all_of(
          objects.begin(), objects.begin() + static_cast<std::ptrdiff_t>(i), [&](const PlacedObject& other) {
            return std::hypot(other.x - object.x, other.y - object.y) >= closeness * (other.radius + object.radius);
          });
    }
    if (!placed) return false;
  }
  return true;
}

inline void draw(const SceneSettings& settings, Scene& scene, Random& random) {
  scene.image = draw_table({settings.side, settings.side}, random);
  scene.owners.assign(scene.image.pixels.size() / 3, 0);
  for (std::size_t i = 0; i < scene.objects.size(); ++i) {
    Rgb body;
    for (std::size_t c = 0; c < 3; ++c)
      body[c] =
          std::clamp(static_cast<float>(colors[scene.objects[i].color].rgb[c] + random.uniform(-12, 12)), 0.0F, 255.0F);
    draw_object(scene.objects[i], body, static_cast<std::uint8_t>(i + 1), scene.image, scene.owners);
  }
  add_grain(scene.image, 10, random);
  for (PlacedObject& object : scene.objects) object.visible = 0;
  for (const std::uint8_t owner : scene.owners)
    if (owner != 0) ++scene.objects[owner - 1U].visible;
}

}  // namespace scene_detail

/// Draws a scene. No two objects have both kind and color in common.
/// @throws InputError for settings out of range, or when so many objects of this size find no room
[[nodiscard]] inline Scene make_scene(const SceneSettings& settings, Combinations combinations, Random& random) {
  using namespace scene_detail;
  require_valid(settings);
  Scene scene;
  for (int attempt = 0; attempt < 200; ++attempt) {
    scene.objects = choose_objects(settings, combinations, random);
    if (!place_objects(settings, scene.objects, random)) continue;
    draw(settings, scene, random);
    if (std::all_of(scene.objects.begin(), scene.objects.end(),
                    [&](const PlacedObject& object) { return object.visible >= settings.min_visible * object.area; }))
      return scene;
  }
  throw InputError("tabletop scene", found_expected("no room for " + std::to_string(settings.max_objects) + " objects",
                                                    "fewer or smaller ones"));
}

/// What is seen of some of the objects, given by their indices.
[[nodiscard]] inline LabelMask mask_of(const Scene& scene, const std::vector<std::size_t>& objects) {
  LabelMask mask{scene.image.size(), std::vector<std::uint8_t>(scene.owners.size())};
  std::array<std::uint8_t, 256> label{};
  for (const std::size_t object : objects) label[object + 1] = 1;
  std::transform(scene.owners.begin(), scene.owners.end(), mask.labels.begin(),
                 [&](std::uint8_t owner) { return label[owner]; });
  return mask;
}

}  // namespace lisa::tabletop
