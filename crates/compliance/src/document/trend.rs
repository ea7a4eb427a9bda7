//! A value over time, scaled here so that every format draws the same line.

use serde::Serialize;

/// Maximum number of points; more are thinned out.
const POINTS_MAX: usize = 200;
/// The scale begins and ends at a multiple of this.
const GRID: i32 = 10;

/// A value over time. Each point's value holds until the next point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// Description in a sentence, for readers who cannot see the chart.
    pub label: String,
    /// The lower end of the scale.
    pub low: i32,
    /// The upper end of the scale.
    pub high: i32,
    /// A marked value, such as a threshold.
    pub mark: i32,
    /// Label of the mark.
    pub mark_label: String,
    /// The points, oldest first.
    pub points: Vec<Point>,
    /// Line segments as lists of corners, in thousandths of width and height from the lower left.
    pub lines: Vec<Vec<[i64; 2]>>,
    /// The height of the mark, in the same thousandths.
    pub mark_at: i64,
}

/// A point of a trend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Seconds since 1970.
    pub at: i64,
    /// The day as text.
    pub day: String,
    /// The value; `None` breaks the line.
    pub value: Option<i32>,
}

impl Trend {
    /// Scales the points. `most` is the highest possible value.
    pub fn new(
        label: String,
        points: Vec<Point>,
        most: i32,
        mark: i32,
        mark_label: String,
    ) -> Self {
        let points = thin_points(points);
        let least = points
            .iter()
            .filter_map(|p| p.value)
            .min()
            .unwrap_or(mark)
            .min(mark);
        let low = least.div_euclid(GRID) * GRID;

        let high = (most + GRID - 1).div_euclid(GRID) * GRID;
        let (first, last) = (
            points.first().map_or(0, |p| p.at),
            points.last().map_or(0, |p| p.at),
        );
        let x = |at: i64| (at - first) * 1000 / (last - first).max(1);
        let y = |value: i32| i64::from(value - low) * 1000 / i64::from((high - low).max(1));
        let mut lines: Vec<Vec<[i64; 2]>> = Vec::new();

        let mut open = false;
        for (n, point) in points.iter().enumerate() {
            let Some(value) = point.value else {
                open = false;
                continue;
            };

            if !open {
                lines.push(Vec::new());
            }

            open = true;
            let until = points.get(n + 1).map_or(last, |next| next.at);
            if let Some(line) = lines.last_mut() {
                line.extend([[x(point.at), y(value)], [x(until), y(value)]]);
            }
        }

        Self {
            label,
            low,
            high,
            mark,
            mark_label,
            mark_at: y(mark),
            points,
            lines,
        }
    }

    /// Returns the same line with every text replaced.
    pub(super) fn map_text(&self, change: &dyn Fn(&str) -> String) -> Self {
        let points = self
            .points
            .iter()
            .map(|point| Point {
                day: change(&point.day),
                ..point.clone()
            })
            .collect();
        Self {
            label: change(&self.label),
            mark_label: change(&self.mark_label),
            points,
            ..self.clone()
        }
    }

    /// Returns the points at which the value changed, and the last one, for a table.
    pub fn changes(&self) -> Vec<&Point> {
        let mut kept: Vec<&Point> = Vec::new();
        for (n, point) in self.points.iter().enumerate() {
            let same = n > 0 && self.points[n - 1].value == point.value;
            if !same || n + 1 == self.points.len() {
                kept.push(point);
            }
        }
        kept
    }
}

/// Thins the points evenly, keeping the first and the last.
fn thin_points(points: Vec<Point>) -> Vec<Point> {
    let (all, most) = (points.len(), POINTS_MAX);
    if all <= most {
        return points;
    }

    let kept = |n: usize| {
        n == all - 1
            || n * (most - 1) / (all - 1) != (n.max(1) - 1) * (most - 1) / (all - 1)
            || n == 0
    };

    points
        .into_iter()
        .enumerate()
        .filter(|(n, _)| kept(*n))
        .map(|(_, p)| p)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, value: Option<i32>) -> Point {
        Point {
            at,
            day: at.to_string(),
            value,
        }
    }

    #[test]
    fn line_holds_each_value_and_breaks_where_there_is_none() {
        let points = vec![
            point(0, Some(50)),
            point(50, Some(110)),
            point(60, None),
            point(80, Some(90)),
            point(100, Some(90)),
        ];
        let trend = Trend::new(
            "score".to_owned(),
            points,
            110,
            88,
            "conditional".to_owned(),
        );

        assert_eq!((trend.low, trend.high, trend.mark_at), (50, 110, 633));
        assert_eq!(trend.lines[0], [[0, 0], [500, 0], [500, 1000], [600, 1000]]);
        assert_eq!(
            trend.lines[1],
            [[800, 666], [1000, 666], [1000, 666], [1000, 666]]
        );
        assert_eq!(trend.lines.len(), 2);
        assert_eq!(
            trend.changes().len(),
            5,
            "the last is shown although nothing changed"
        );
    }

    #[test]
    fn many_points_are_thinned_and_no_points_draw_no_line() {
        let many = (0..10_000).map(|n| point(n, Some(-203))).collect();
        let trend = Trend::new(String::new(), many, 110, 88, String::new());
        assert!(
            (100..=POINTS_MAX).contains(&trend.points.len()),
            "{}",
            trend.points.len()
        );
        assert_eq!(
            (trend.points[0].at, trend.points.last().map(|p| p.at)),
            (0, Some(9_999))
        );

        assert_eq!(trend.low, -210);
        assert!(
            Trend::new(String::new(), Vec::new(), 110, 88, String::new())
                .lines
                .is_empty()
        );
    }
}
