//! The plans of action as the sheet that eMASS takes: CSV, and XLSX for those who open it in a
//! spreadsheet.

use model::{Plan, Timestamp};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook};

use super::{SheetError, csv_writer, into_bytes, no_formula};
use crate::catalog::Catalog;
use crate::poam::{EMASS, emass};

/// A cell of a workbook holds no more characters than this.
const CELL_MAX: usize = 32_767;
/// Columns that hold sentences, by their place, are wider than the others.
const WIDE: [u16; 7] = [1, 7, 8, 9, 11, 14, 23];

/// The sheet as CSV (RFC 4180).
pub fn csv(plans: &[Plan]) -> Result<Vec<u8>, SheetError> {
    let mut writer = csv_writer();
    writer.write_record(EMASS)?;

    for plan in plans {
        let cells = emass(Catalog::r2(), plan);
        writer.write_record(cells.iter().map(|cell| no_formula(cell).into_owned()))?;
    }

    into_bytes(writer)
}

/// The sheet as a workbook. Every cell is text, in which no formula runs; the apostrophe is there
/// all the same, for whoever saves it as CSV. The same plans at the same time give the same octets.
pub fn xlsx(plans: &[Plan], now: Timestamp) -> Result<Vec<u8>, SheetError> {
    let mut workbook = Workbook::new();
    let made = ExcelDateTime::from_timestamp(now.as_micros().div_euclid(1_000_000))?;
    workbook.set_properties(
        &DocProperties::new()
            .set_title("Plan of Action and Milestones")
            .set_creation_datetime(&made),
    );

    let sheet = workbook.add_worksheet();
    sheet.set_name("POA&M")?;
    let text = Format::new()
        .set_num_format("@")
        .set_text_wrap()
        .set_align(FormatAlign::Top);
    let head = Format::new()
        .set_bold()
        .set_text_wrap()
        .set_align(FormatAlign::Top);

    for (column, name) in (0_u16..).zip(EMASS) {
        sheet.set_column_width(column, if WIDE.contains(&column) { 40 } else { 16 })?;
        sheet.write_string_with_format(0, column, name, &head)?;
    }

    for (row, plan) in (1_u32..).zip(plans) {
        for (column, cell) in (0_u16..).zip(&emass(Catalog::r2(), plan)) {
            let cell: String = no_formula(cell)
                .chars()
                .filter(|c| !c.is_control() || *c == '\n')
                .take(CELL_MAX)
                .collect();
            sheet.write_string_with_format(row, column, cell, &text)?;
        }
    }

    sheet.set_freeze_panes(1, 0)?;
    Ok(workbook.save_to_buffer()?)
}
