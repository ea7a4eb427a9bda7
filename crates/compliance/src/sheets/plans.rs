//! The plans of action as the sheet that eMASS takes: CSV, and XLSX for those who open it in a
//! spreadsheet.

use model::Timestamp;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook, Worksheet};

use super::{SheetError, csv_writer, into_bytes, no_formula};
use crate::dates::format_day;
use crate::poam::{EMASS, emass};
use crate::reports::Plans;

/// A cell of a workbook holds no more characters than this.
const CELL_MAX: usize = 32_767;
/// Columns that hold sentences, by their place, are wider than the others.
const WIDE: [u16; 8] = [1, 7, 8, 9, 11, 14, 21, 23];
/// The column of the day by which an item is done.
const DUE: u16 = 6;

/// Writes the sheet as CSV (RFC 4180): its columns, without the header block.
pub fn csv(known: &Plans<'_>) -> Result<Vec<u8>, SheetError> {
    let mut writer = csv_writer();
    writer.write_record(EMASS)?;

    for plan in known.plans {
        let cells = emass(known.catalog, &known.system.organization.name, plan);
        writer.write_record(cells.iter().map(|cell| no_formula(cell).into_owned()))?;
    }

    into_bytes(writer)
}

/// Writes the sheet as a workbook with the header block of the template. Days are dates; every
/// other cell is text, in which no formula runs. The apostrophe is there all the same, for whoever
/// saves it as CSV. The same plans at the same time give the same bytes.
pub fn xlsx(known: &Plans<'_>) -> Result<Vec<u8>, SheetError> {
    let mut workbook = Workbook::new();
    let made = ExcelDateTime::from_timestamp(known.now.as_micros().div_euclid(1_000_000))?;
    workbook.set_properties(
        &DocProperties::new()
            .set_title("Plan of Action and Milestones")
            .set_creation_datetime(&made),
    );

    let sheet = workbook.add_worksheet();
    sheet.set_name("POA&M")?;
    let top = Format::new().set_text_wrap().set_align(FormatAlign::Top);
    let text = top.clone().set_num_format("@");
    let date = top.clone().set_num_format("mm/dd/yyyy");
    let head = top.set_bold();

    let columns = write_header_block(sheet, known, &head, &text)?;
    for (column, name) in (0_u16..).zip(EMASS) {
        sheet.set_column_width(column, if WIDE.contains(&column) { 40 } else { 16 })?;
        sheet.write_string_with_format(columns, column, name, &head)?;
    }

    for (row, plan) in (columns + 1..).zip(known.plans) {
        let cells = emass(known.catalog, &known.system.organization.name, plan);
        for (column, cell) in (0_u16..).zip(&cells) {
            match plan.due.filter(|_| column == DUE).and_then(excel_day) {
                Some(day) => sheet.write_datetime_with_format(row, column, &day, &date)?,
                None => sheet.write_string_with_format(row, column, cell_text(cell), &text)?,
            };
        }
    }

    sheet.set_freeze_panes(columns + 1, 0)?;
    Ok(workbook.save_to_buffer()?)
}

/// Writes what the template has above its columns. Returns the row of the columns.
fn write_header_block(
    sheet: &mut Worksheet,
    known: &Plans<'_>,
    head: &Format,
    text: &Format,
) -> Result<u32, SheetError> {
    let s = known.system;
    let contact = s.person("system security officer");
    let of = |field: fn(&crate::system::Person) -> &String| {
        contact.map(field).cloned().unwrap_or_default()
    };

    let day = known.now.to_jiff().strftime("%m/%d/%Y").to_string();
    let rows = [
        ("Plan of Action and Milestones", s.marking.clone()),
        ("Date Exported:", day),
        ("Exported By:", s.organization.name.clone()),
        ("DoD Component:", s.designation.controlled_by.clone()),
        ("System / Project Name:", s.name.clone()),
        ("DoD IT Registration No.:", s.identifier.clone()),
        ("System Type:", "Nonfederal system".to_owned()),
        ("CAGE Codes:", s.organization.cage_codes.join(", ")),
        ("POC Name:", of(|p| &p.name)),
        ("POC Phone:", of(|p| &p.phone)),
        ("POC E-Mail:", of(|p| &p.email)),
    ];

    let count = rows.len() as u32;
    for (row, (label, value)) in (0_u32..).zip(rows) {
        sheet.write_string_with_format(row, 0, label, head)?;
        sheet.write_string_with_format(row, 1, cell_text(&value), text)?;
    }

    Ok(count + 1)
}

/// Returns what a cell can hold of a text.
fn cell_text(text: &str) -> String {
    no_formula(text)
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(CELL_MAX)
        .collect()
}

/// Returns a day as a spreadsheet counts it; `None` for one that it cannot, which is written as
/// text.
fn excel_day(at: Timestamp) -> Option<ExcelDateTime> {
    ExcelDateTime::parse_from_str(&format_day(at)).ok()
}
